//! Operations of this device, or of whoever has the phrase at hand: signed and taken.

use sheaf_crypto::{
    Author, DeviceCertificate, DeviceId, DeviceSecrets, OperationId, RecoveryKeys, RecoveryPhrase,
    Signature, SignedUserOperation, UserBody, UserOperation, limits, prove_recovery_possession,
};

use super::{Devices, Subject, UserLogError};

/// Who signs.
#[derive(Clone, Copy)]
enum Signer<'a> {
    Device(&'a DeviceSecrets),
    Phrase(&'a RecoveryPhrase),
}

impl Signer<'_> {
    fn author(self) -> Author {
        match self {
            Self::Device(secrets) => Author::Device(secrets.device()),
            Self::Phrase(_) => Author::Recovery,
        }
    }
}

impl Devices {
    /// Signs and inserts the operation that adds a device.
    pub(crate) fn add_device(
        &mut self,
        author: &DeviceSecrets,
        certificate: &DeviceCertificate,
        possession: &Signature,
    ) -> Result<SignedUserOperation, UserLogError> {
        let body = added(certificate, possession);
        self.write(Signer::Device(author), body, &[])
    }

    fn revoked(&self, device: &DeviceId) -> (UserBody, Vec<OperationId>) {
        let member = self.picture.standing.view.member(&Subject::Device(*device));
        let live: Vec<OperationId> = member
            .map(|member| member.incarnations().collect())
            .unwrap_or_default();
        let body = UserBody::RevokeDevice {
            device: *device,
            incarnations: live.clone(),
        };
        (body, live)
    }

    /// Signs an operation above everything known, and takes it. `about` are operations that must
    /// be in its past.
    fn write(
        &mut self,
        signer: Signer<'_>,
        body: UserBody,
        about: &[OperationId],
    ) -> Result<SignedUserOperation, UserLogError> {
        let author = signer.author();
        let incarnation = match &author {
            Author::Recovery => self.known.root,
            Author::Device(device) => {
                let own = self.device(device).ok_or(UserLogError::UnknownAuthor)?;
                own.incarnation
            }
        };
        let own = self.known.newest(self.known.by_author(&author.into()));
        let last = own
            .into_iter()
            .max_by_key(|entry| (entry.operation.seq, entry.id));
        let previous = last.map(|entry| entry.id);
        let seq = last.map_or(1, |entry| entry.operation.seq.saturating_add(1));
        let mut needed = vec![incarnation];
        needed.extend(previous);
        needed.extend(about);
        let operation = UserOperation {
            user: self.user,
            author,
            incarnation,
            seq,
            previous,
            parents: self.parents(author, needed),
            body,
        };
        let signed = match signer {
            Signer::Device(secrets) => SignedUserOperation::sign(&operation, secrets)?,
            Signer::Phrase(phrase) => SignedUserOperation::sign_with_recovery(&operation, phrase)?,
        };
        self.insert(&signed)?;
        Ok(signed)
    }

    /// The newest operations.
    ///
    /// If somebody forked into more than an operation may name, as many as it may, and what the
    /// author needs. If devices filled the log, what the phrase needs alone: another replica may
    /// have stopped at other operations.
    fn parents(&self, author: Author, needed: Vec<OperationId>) -> Vec<OperationId> {
        let mut parents = self.roles.heads();
        let device = Author::Device(self.primary());
        let room = self.bytes + limits::KEM_PUBLIC_BYTES_MAX;
        if author == Author::Recovery && !self.has_room(device, room) {
            parents = needed;
        } else if parents.len() > limits::PARENTS_MAX {
            parents.retain(|head| !needed.contains(head));
            parents.truncate(limits::PARENTS_MAX.saturating_sub(needed.len()));
            parents.extend(needed);
        }
        parents.sort_unstable();
        parents.dedup();
        parents
    }

    /// Takes the freezes of a device back that the signer may take back.
    fn thaw_by(
        &mut self,
        signer: Signer<'_>,
        device: &DeviceId,
    ) -> Result<SignedUserOperation, UserLogError> {
        let open = self.picture.standing.open.iter();
        let freezes = open.filter(|(_, _, frozen)| frozen == device);
        let mut about: Vec<OperationId> = freezes.map(|(id, ..)| *id).collect();
        about.truncate(limits::PARENTS_MAX / 2);
        self.write(signer, UserBody::Thaw { device: *device }, &about)
    }
}

impl Devices {
    /// Gives a device another name for people.
    pub(crate) fn rename(
        &mut self,
        author: &DeviceSecrets,
        device: &DeviceId,
        label: &str,
    ) -> Result<SignedUserOperation, UserLogError> {
        let body = UserBody::RenameDevice {
            device: *device,
            label: label.to_owned(),
        };
        self.write(Signer::Device(author), body, &[])
    }

    /// The emergency brake: any device pulls it on any other.
    pub(crate) fn freeze(
        &mut self,
        author: &DeviceSecrets,
        device: &DeviceId,
    ) -> Result<SignedUserOperation, UserLogError> {
        let body = UserBody::Freeze { device: *device };
        self.write(Signer::Device(author), body, &[])
    }

    /// Takes one's own freeze back, and those of devices below one.
    pub(crate) fn thaw(
        &mut self,
        author: &DeviceSecrets,
        device: &DeviceId,
    ) -> Result<SignedUserOperation, UserLogError> {
        self.thaw_by(Signer::Device(author), device)
    }

    /// Takes every freeze of a device back.
    pub(crate) fn thaw_with_phrase(
        &mut self,
        phrase: &RecoveryPhrase,
        device: &DeviceId,
    ) -> Result<SignedUserOperation, UserLogError> {
        self.thaw_by(Signer::Phrase(phrase), device)
    }

    /// Ends oneself, or a device below one, under all names it has now.
    pub(crate) fn revoke(
        &mut self,
        author: &DeviceSecrets,
        device: &DeviceId,
    ) -> Result<SignedUserOperation, UserLogError> {
        let (body, named) = self.revoked(device);
        self.write(Signer::Device(author), body, &named)
    }

    /// Ends any device.
    pub(crate) fn revoke_with_phrase(
        &mut self,
        phrase: &RecoveryPhrase,
        device: &DeviceId,
    ) -> Result<SignedUserOperation, UserLogError> {
        let (body, named) = self.revoked(device);
        self.write(Signer::Phrase(phrase), body, &named)
    }

    /// Makes a device the primary one.
    pub(crate) fn hand_over(
        &mut self,
        author: &DeviceSecrets,
        to: &DeviceId,
    ) -> Result<SignedUserOperation, UserLogError> {
        self.write(Signer::Device(author), UserBody::Handover { to: *to }, &[])
    }

    /// Says that the author is not to be primary.
    pub(crate) fn decline(
        &mut self,
        author: &DeviceSecrets,
    ) -> Result<SignedUserOperation, UserLogError> {
        self.write(Signer::Device(author), UserBody::Decline, &[])
    }

    /// Adds a device that nobody but the phrase vouches for: all others may be lost.
    pub(crate) fn recover(
        &mut self,
        phrase: &RecoveryPhrase,
        certificate: &DeviceCertificate,
        possession: &Signature,
    ) -> Result<SignedUserOperation, UserLogError> {
        let body = added(certificate, possession);
        self.write(Signer::Phrase(phrase), body, &[])
    }

    /// Replaces the recovery phrase.
    pub(crate) fn rotate_recovery(
        &mut self,
        phrase: &RecoveryPhrase,
        new: &RecoveryPhrase,
    ) -> Result<SignedUserOperation, UserLogError> {
        let recovery = RecoveryKeys::of(new)?;
        let possession = prove_recovery_possession(&self.user, new, &recovery)?;
        let body = UserBody::RotateRecovery {
            recovery,
            possession,
        };
        self.write(Signer::Phrase(phrase), body, &[])
    }
}

fn added(certificate: &DeviceCertificate, possession: &Signature) -> UserBody {
    UserBody::AddDevice {
        certificate: certificate.clone(),
        possession: *possession,
    }
}
