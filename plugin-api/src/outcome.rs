use std::borrow::Cow;

/// How a run ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The work is done.
    Done,
    /// There was nothing to do, and why.
    Skipped(Cow<'static, str>),
}

impl Outcome {
    /// Says that the work is done.
    pub fn done() -> Self {
        Self::Done
    }

    /// Says that there was nothing to do, and why.
    pub fn skipped(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Skipped(reason.into())
    }
}
