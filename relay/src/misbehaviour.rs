//! What a device can do against the protocol, by name.

/// One kind of misbehaviour. Each is counted; repeated ones close the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misbehaviour {
    /// A frame longer than a frame may be: what follows cannot be read, the connection is closed.
    FrameTooLarge,
    /// The control stream ended inside a frame.
    FrameTruncated,
    /// A frame that does not decode.
    FrameMalformed,
    /// A frame of an unknown version.
    FrameVersion,
    /// The first frame is not a hello.
    NoHello,
    /// A second hello.
    HelloRepeated,
    /// A proof of access that is wrong.
    ProofWrong,
    /// More topics than one connection may have.
    TopicsTooMany,
    /// A request about a topic without its proof.
    NotProved,
    /// A record larger than the relay said it takes.
    RecordTooLarge,
    /// Went on at full speed through thousands of refusals.
    Flood,
    /// Took nothing from a stream for too long.
    Stalled,
}

impl Misbehaviour {
    pub(crate) const ALL: [Self; 12] = [
        Self::FrameTooLarge,
        Self::FrameTruncated,
        Self::FrameMalformed,
        Self::FrameVersion,
        Self::NoHello,
        Self::HelloRepeated,
        Self::ProofWrong,
        Self::TopicsTooMany,
        Self::NotProved,
        Self::RecordTooLarge,
        Self::Flood,
        Self::Stalled,
    ];

    /// Its name in metrics and logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FrameTooLarge => "frame_too_large",
            Self::FrameTruncated => "frame_truncated",
            Self::FrameMalformed => "frame_malformed",
            Self::FrameVersion => "frame_version",
            Self::NoHello => "no_hello",
            Self::HelloRepeated => "hello_repeated",
            Self::ProofWrong => "proof_wrong",
            Self::TopicsTooMany => "topics_too_many",
            Self::NotProved => "not_proved",
            Self::RecordTooLarge => "record_too_large",
            Self::Flood => "flood",
            Self::Stalled => "stalled",
        }
    }
}

/// Why the relay closes a connection: the application error code of the QUIC close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCode {
    /// The relay shuts down; connect again.
    ShuttingDown = 0,
    /// The device broke the protocol.
    Misbehaved = 1,
    /// The device is not admitted, or no longer.
    NotAdmitted = 2,
    /// No hello in time.
    HelloTimeout = 3,
    /// The device took nothing for too long.
    Stalled = 4,
    /// A newer connection of the same device took its place.
    Replaced = 5,
    /// Too many connections from this part of the network.
    TooManyConnections = 6,
    /// No common version.
    Version = 7,
}

impl CloseCode {
    /// The code as QUIC carries it.
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Self::ShuttingDown => 0,
            Self::Misbehaved => 1,
            Self::NotAdmitted => 2,
            Self::HelloTimeout => 3,
            Self::Stalled => 4,
            Self::Replaced => 5,
            Self::TooManyConnections => 6,
            Self::Version => 7,
        }
    }
}
