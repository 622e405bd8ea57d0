//! What a failed call to Kinesis means for its reader: the one place where error codes are read.
//!
//! Every answer of the SDK that is not a success becomes a [`Failure`] of one [`Class`]; the rest of
//! the connector looks only at the class. The table is [`CODES`].

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kinesis::config::http::HttpResponse;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// What to do about a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// The iterator or list token is too old: get a new one from our own position.
    Renew,
    /// Nothing is wrong with the request: wait and repeat.
    BackOff,
    /// No answer came from the endpoint: wait and repeat; at the start, a person must look.
    Unreachable,
    /// Someone must grant a permission, enable a key or give credentials.
    Operator,
    /// The stream or shard does not exist (any more).
    Missing,
    /// An argument is refused: the position is not one of this shard's.
    Invalid,
    /// The position is the last one the shard can have: it is read to its end.
    Exhausted,
}

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What to do about it.
    pub(crate) class: Class,
    /// The service's error code, or our word for what happened on the way.
    pub(crate) code: String,
    /// The service's words.
    pub(crate) message: String,
}

/// The error codes that Kinesis and its gateway give, and what each means.
///
/// Sources: the error lists of `GetRecords`, `GetShardIterator`, `ListShards` and `PutRecords` and
/// "Common errors" in the Kinesis API reference. A code not listed is judged by its HTTP status.
const CODES: &[(&str, Class)] = &[
    ("ExpiredIteratorException", Class::Renew),
    ("ExpiredNextTokenException", Class::Renew),
    ("ProvisionedThroughputExceededException", Class::BackOff),
    ("LimitExceededException", Class::BackOff),
    ("KMSThrottlingException", Class::BackOff),
    ("ResourceInUseException", Class::BackOff),
    ("InternalFailureException", Class::BackOff),
    ("InternalFailure", Class::BackOff),
    ("ServiceUnavailable", Class::BackOff),
    ("ThrottlingException", Class::BackOff),
    ("Throttling", Class::BackOff),
    ("RequestTimeout", Class::BackOff),
    ("KMSAccessDeniedException", Class::Operator),
    ("KMSDisabledException", Class::Operator),
    ("KMSInvalidStateException", Class::Operator),
    ("KMSNotFoundException", Class::Operator),
    ("KMSOptInRequired", Class::Operator),
    ("AccessDeniedException", Class::Operator),
    ("UnrecognizedClientException", Class::Operator),
    ("ExpiredTokenException", Class::Operator),
    ("InvalidSignatureException", Class::Operator),
    ("IncompleteSignatureException", Class::Operator),
    ("MissingAuthenticationTokenException", Class::Operator),
    ("InvalidClientTokenId", Class::Operator),
    ("OptInRequired", Class::Operator),
    ("ResourceNotFoundException", Class::Missing),
    ("InvalidArgumentException", Class::Invalid),
    ("ValidationException", Class::Invalid),
];

/// Our code for a call that no credentials could be found for.
pub(crate) const NO_CREDENTIALS: &str = "NoCredentials";

impl Failure {
    /// A failure of `class`, in the service's words.
    pub(crate) fn new(class: Class, code: &str, message: impl Into<String>) -> Self {
        Self { class, code: code.to_owned(), message: message.into() }
    }

    /// The failure an answer with this error code and HTTP status stands for.
    pub(crate) fn answered(code: &str, message: &str, status: Option<u16>) -> Self {
        Self::new(classify(code, message, status), code, message)
    }

    /// Whether calls came too often.
    pub(crate) fn is_throttling(&self) -> bool {
        ["Throttl", "ThroughputExceeded", "LimitExceeded", "SlowDown", "TooManyRequests"]
            .iter()
            .any(|word| self.code.contains(word))
    }

    /// What a person should try.
    pub(crate) fn hint(&self) -> &'static str {
        match (self.class, self.code.as_str()) {
            (_, NO_CREDENTIALS) => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile with \
                 AWS_PROFILE or the option 'profile'"
            }
            (Class::Operator, code) if code.starts_with("KMS") => {
                "check that the stream's KMS key is enabled and that its policy lets this role use it"
            }
            (Class::Operator, "AccessDeniedException") => {
                "the role needs kinesis:ListShards, kinesis:GetShardIterator and kinesis:GetRecords \
                 to read, kinesis:PutRecords to write"
            }
            (Class::Operator, _) => "check the credentials, the region and the machine's clock",
            (Class::Missing, _) => {
                "check the stream's name, the account and the region; for a local endpoint set \
                 AWS_ENDPOINT_URL or the option 'endpoint'"
            }
            (Class::Unreachable, _) => {
                "check AWS_ENDPOINT_URL or the option 'endpoint', the region, and the network"
            }
            (Class::Invalid, _) => {
                "the records may have passed the stream's retention, or the stream was deleted and \
                 created again: start anew with start = 'trim_horizon'"
            }
            (Class::Renew | Class::BackOff | Class::Exhausted, _) => "try again later",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            return f.write_str(&self.code);
        }
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl StdError for Failure {}

/// What an answer with this error code means.
fn classify(code: &str, message: &str, status: Option<u16>) -> Class {
    // AFTER_SEQUENCE_NUMBER at a closed shard's greatest number is refused with these words.
    if code == "InvalidArgumentException" && message.contains("reached max possible value") {
        return Class::Exhausted;
    }
    if let Some((_, class)) = CODES.iter().find(|(known, _)| *known == code) {
        return *class;
    }
    match status {
        Some(429 | 500..) | None => Class::BackOff,
        Some(_) => Class::Operator,
    }
}

impl<E> From<SdkError<E, HttpResponse>> for Failure
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let words = root_cause(&error);
        match &error {
            SdkError::ServiceError(answer) => {
                let status = answer.raw().status().as_u16();
                let code = answer.err().code().unwrap_or("UnknownError");
                Self::answered(code, answer.err().message().unwrap_or(""), Some(status))
            }
            _ if has_cause::<CredentialsError>(&error) => {
                let none = words.starts_with("no credentials found");
                let words = if none { "no AWS credentials were found".to_owned() } else { words };
                Self::new(Class::Operator, NO_CREDENTIALS, words)
            }
            SdkError::TimeoutError(_) => Self::new(Class::Unreachable, "Timeout", words),
            SdkError::DispatchFailure(failure) if failure.is_user() => {
                Self::new(Class::Operator, "InvalidRequest", words)
            }
            SdkError::DispatchFailure(_) => Self::new(Class::Unreachable, "NoConnection", words),
            SdkError::ConstructionFailure(_) => Self::new(Class::Operator, "InvalidRequest", words),
            // An answer came but could not be read: cut off, or from something in between.
            _ => Self::new(Class::BackOff, "UnreadableAnswer", words),
        }
    }
}

fn has_cause<T: StdError + 'static>(error: &(dyn StdError + 'static)) -> bool {
    std::iter::successors(Some(error), |error| (*error).source()).any(|error| error.is::<T>())
}

/// The innermost error's first line: the outer ones only say that something failed, and the other
/// lines list every place that was looked at.
fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let last = std::iter::successors(Some(error), |error| (*error).source()).last();
    let words = last.map(ToString::to_string).unwrap_or_default();
    words.lines().next().unwrap_or_default().to_owned()
}

/// Waiting times between attempts: decorrelated jitter, so that readers who failed together do not
/// come back together.
#[derive(Debug)]
pub(crate) struct BackOff {
    rng: StdRng,
    last: Duration,
}

impl BackOff {
    /// The shortest wait.
    const BASE: Duration = Duration::from_millis(100);
    /// The longest wait: long enough to let a throttled shard recover, short enough that a shard
    /// which has come back is noticed within the time a person watches.
    const LONGEST: Duration = Duration::from_secs(10);

    /// A sequence of waits that depends only on `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), last: Self::BASE }
    }

    /// How long to wait before the next attempt.
    pub(crate) fn wait(&mut self) -> Duration {
        let upper = (self.last * 3).min(Self::LONGEST);
        self.last = self.rng.random_range(Self::BASE..=upper);
        self.last
    }

    /// The last attempt succeeded: the next wait is short again.
    pub(crate) fn reset(&mut self) {
        self.last = Self::BASE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row per error that the API reference names, and what the reader must do about it.
    #[test]
    fn every_error_has_its_reaction() {
        use Class::{BackOff, Exhausted, Invalid, Missing, Operator, Renew};
        let max = "The sequence number has reached max possible value for the shard";
        let table = [
            ("ExpiredIteratorException", "", 400, Renew),
            ("ExpiredNextTokenException", "", 400, Renew),
            ("ProvisionedThroughputExceededException", "", 400, BackOff),
            ("LimitExceededException", "", 400, BackOff),
            ("KMSThrottlingException", "", 400, BackOff),
            ("ResourceInUseException", "", 400, BackOff),
            ("InternalFailureException", "", 500, BackOff),
            ("InternalFailure", "", 500, BackOff),
            ("ServiceUnavailable", "", 503, BackOff),
            ("ThrottlingException", "", 400, BackOff),
            ("Throttling", "", 400, BackOff),
            ("RequestTimeout", "", 400, BackOff),
            ("KMSAccessDeniedException", "", 400, Operator),
            ("KMSDisabledException", "", 400, Operator),
            ("KMSInvalidStateException", "", 400, Operator),
            ("KMSNotFoundException", "", 400, Operator),
            ("KMSOptInRequired", "", 400, Operator),
            ("AccessDeniedException", "", 400, Operator),
            ("UnrecognizedClientException", "", 400, Operator),
            ("ExpiredTokenException", "", 400, Operator),
            ("InvalidSignatureException", "", 400, Operator),
            ("IncompleteSignatureException", "", 400, Operator),
            ("MissingAuthenticationTokenException", "", 400, Operator),
            ("InvalidClientTokenId", "", 403, Operator),
            ("OptInRequired", "", 403, Operator),
            ("ResourceNotFoundException", "", 400, Missing),
            ("InvalidArgumentException", "Invalid ShardIterator.", 400, Invalid),
            ("InvalidArgumentException", max, 400, Exhausted),
            ("ValidationException", "", 400, Invalid),
            // Not in the table: judged by the status.
            ("UnknownOperationException", "", 400, Operator),
            ("SomethingNew", "", 500, BackOff),
            ("SlowDown", "", 503, BackOff),
            ("TooManyRequests", "", 429, BackOff),
        ];
        for (code, message, status, class) in table {
            assert_eq!(Failure::answered(code, message, Some(status)).class, class, "{code}");
        }
        let tested = |code: &str| table.iter().any(|row| row.0 == code);
        assert!(CODES.iter().all(|(code, _)| tested(code)), "a row of the table has no test");
    }

    #[test]
    fn waits_are_jittered_bounded_and_repeatable() {
        let waits = |seed| {
            let mut back_off = BackOff::new(seed);
            (0..50).map(|_| back_off.wait()).collect::<Vec<_>>()
        };
        assert_eq!(waits(7), waits(7));
        assert_ne!(waits(7), waits(8));
        assert!(waits(7).iter().all(|w| (BackOff::BASE..=BackOff::LONGEST).contains(w)));
        assert!(waits(7).iter().any(|w| *w > Duration::from_secs(2)), "it never slows down");
    }
}
