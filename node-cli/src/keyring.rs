//! The platform's keyring as a place for the store's key: Secret Service, Keychain, Credential
//! Manager. What is kept there is what a key file holds, so the store's format knows nothing of it.

use zeroize::Zeroizing;

use crate::exit::Failure;

const KEY_BYTES: usize = 32;

/// Draws a name for a store's key.
///
/// # Errors
/// A failure when the platform gives no randomness.
pub(crate) fn new_name() -> Result<String, Failure> {
    let mut name = [0; 16];
    random(&mut name)?;
    Ok(data_encoding::HEXLOWER.encode(&name))
}

/// Draws a key and keeps it under a name; it is read back before it is used for anything.
///
/// # Errors
/// A failure that says what to use instead where there is no keyring.
pub(crate) fn create(name: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, Failure> {
    create_in(&entry(name)?)
}

/// Reads the key of a name.
///
/// # Errors
/// A failure that says what to do.
pub(crate) fn read(name: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, Failure> {
    read_in(&entry(name)?)
}

/// Takes a key that opens nothing any more out of the keyring.
///
/// # Errors
/// A failure when the keyring refuses.
pub(crate) fn remove(name: &str) -> Result<(), Failure> {
    remove_in(&entry(name)?)
}

fn random(bytes: &mut [u8]) -> Result<(), Failure> {
    getrandom::fill(bytes).map_err(|error| Failure::failed(format!("no randomness: {error}")))
}

/// Never silently something else: without a keyring there is no store and no key.
fn no_keyring(why: &dyn std::fmt::Display) -> Failure {
    Failure::failed(format!("the keyring cannot be used: {why}")).advise(
        "without a desktop session there is none; use a passphrase, or --key-file FILE, which is \
         weaker: whoever can read that file opens the store, so it belongs on another disk, or the \
         service manager hands it over at the start",
    )
}

#[cfg(feature = "keyring")]
mod platform {
    use keyring_core::{Entry, Error};
    use zeroize::Zeroizing;

    use super::{Failure, KEY_BYTES, no_keyring, random};
    use crate::exit::Code;

    const SERVICE: &str = "sheaf";

    pub(super) fn entry(name: &str) -> Result<Entry, Failure> {
        ready()?;
        Entry::new(SERVICE, name).map_err(|error| no_keyring(&error))
    }

    /// Finds the platform's keyring, once. The status has the reason where there is none.
    #[cfg(not(test))]
    fn ready() -> Result<(), Failure> {
        let status = keyring::Entry::store_status().as_ref();
        status.map_err(|error| no_keyring(error)).copied()
    }

    #[cfg(test)]
    fn ready() -> Result<(), Failure> {
        super::tests::ready();
        Ok(())
    }

    pub(super) fn create_in(entry: &Entry) -> Result<Zeroizing<[u8; KEY_BYTES]>, Failure> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        random(key.as_mut_slice())?;
        entry
            .set_secret(key.as_slice())
            .map_err(|error| no_keyring(&error))?;
        let kept = read_in(entry)?;
        if kept != key {
            return Err(no_keyring(&"it gave another key back than it was given"));
        }
        Ok(key)
    }

    pub(super) fn read_in(entry: &Entry) -> Result<Zeroizing<[u8; KEY_BYTES]>, Failure> {
        let kept = match entry.get_secret() {
            Ok(kept) => Zeroizing::new(kept),
            Err(Error::NoEntry) => {
                let what = "the key of this store is not in the keyring";
                return Err(Failure::new(Code::WrongPassphrase, what).advise(
                    "log in as the user whose keyring has it; a backup opens by the secret of its time",
                ));
            }
            Err(error) => return Err(no_keyring(&error)),
        };
        let key = kept.as_slice().try_into().map(Zeroizing::new);
        key.map_err(|_| no_keyring(&"what it has for this store is not a key"))
    }

    pub(super) fn remove_in(entry: &Entry) -> Result<(), Failure> {
        match entry.delete_credential() {
            Ok(()) | Err(Error::NoEntry) => Ok(()),
            Err(error) => Err(no_keyring(&error)),
        }
    }
}

#[cfg(not(feature = "keyring"))]
mod platform {
    use zeroize::Zeroizing;

    use super::{Failure, KEY_BYTES, no_keyring};

    /// There is none.
    pub(super) enum Entry {}

    pub(super) fn entry(_: &str) -> Result<Entry, Failure> {
        Err(no_keyring(&"this program was built without it"))
    }

    pub(super) fn create_in(entry: &Entry) -> Result<Zeroizing<[u8; KEY_BYTES]>, Failure> {
        match *entry {}
    }

    pub(super) fn read_in(entry: &Entry) -> Result<Zeroizing<[u8; KEY_BYTES]>, Failure> {
        match *entry {}
    }

    pub(super) fn remove_in(entry: &Entry) -> Result<(), Failure> {
        match *entry {}
    }
}

use platform::{create_in, entry, read_in, remove_in};

#[cfg(all(test, feature = "keyring"))]
mod tests;
