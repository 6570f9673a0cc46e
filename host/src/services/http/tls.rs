//! Says in words why no secure connection came about.

use rustls::{
    AlertDescription as Alert, CertificateError as Certificate, Error, OtherError, PeerIncompatible as Incompatible,
};

use super::verify::SignedByItself;

/// What is wrong with the other side's TLS, and whether trying again is of no use.
pub(super) fn reason(error: &Error) -> (String, bool) {
    let lasting = matches!(error, Error::InvalidCertificate(_) | Error::PeerIncompatible(_))
        || matches!(error, Error::AlertReceived(Alert::ProtocolVersion | Alert::UnrecognisedName));
    let words = match error {
        Error::InvalidCertificate(problem) => return (certificate(problem), lasting),
        Error::PeerIncompatible(problem) => return (incompatible(problem), lasting),
        Error::AlertReceived(Alert::ProtocolVersion) => OLD_TLS,
        Error::AlertReceived(Alert::UnrecognisedName) => "the server knows no site of this name (SNI)",
        Error::AlertReceived(Alert::HandshakeFailure | Alert::InsufficientSecurity) => {
            "the server and we have no way of encryption in common; it may offer only old ones"
        }
        Error::AlertReceived(Alert::CertificateRequired) => "the server asks for a certificate of ours",
        Error::AlertReceived(alert) => return (format!("the server refused: {alert:?}"), lasting),
        Error::InvalidMessage(_) => "the server does not speak TLS on this port",
        other => return (other.to_string(), lasting),
    };
    (words.to_owned(), lasting)
}

const OLD_TLS: &str = "the server speaks only TLS 1.1 or older, which is not safe";

fn certificate(problem: &Certificate) -> String {
    let words = match problem {
        Certificate::Expired | Certificate::ExpiredContext { .. } => "the certificate has expired",
        Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => "the certificate is not valid yet",
        Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
            "the certificate is for another host"
        }
        Certificate::UnknownIssuer => {
            "the certificate is signed by nobody we trust, or the server leaves out an intermediate certificate"
        }
        Certificate::Revoked => "the certificate has been revoked",
        Certificate::Other(other) if is_signed_by_itself(other) => "the certificate is signed by itself",
        other => return format!("the certificate is not valid: {other}"),
    };
    words.to_owned()
}

fn is_signed_by_itself(other: &OtherError) -> bool {
    // An authority's own certificate in the place of a server's is refused before its signer is looked for.
    other.0.is::<SignedByItself>() || other.0.to_string().contains("CaUsedAsEndEntity")
}

fn incompatible(problem: &Incompatible) -> String {
    match problem {
        Incompatible::ServerDoesNotSupportTls12Or13 | Incompatible::ServerTlsVersionIsDisabledByOurConfig => {
            OLD_TLS.to_owned()
        }
        Incompatible::NoCipherSuitesInCommon | Incompatible::NoKxGroupsInCommon => {
            "the server and we have no way of encryption in common; it may offer only old ones".to_owned()
        }
        other => format!("the server offers no TLS that is safe: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: &Error, expected: &str, lasting: bool) {
        let (words, lasts) = reason(error);
        assert!(words.starts_with(expected), "expected {expected}\n     got {words}");
        assert_eq!(lasts, lasting, "{words}");
    }

    #[test]
    fn a_certificate_problem_is_said_in_words_and_lasts() {
        let check = |problem, expected: &str| check(&Error::InvalidCertificate(problem), expected, true);
        check(Certificate::Expired, "the certificate has expired");
        check(Certificate::NotValidYet, "the certificate is not valid yet");
        check(Certificate::NotValidForName, "the certificate is for another host");
        check(Certificate::UnknownIssuer, "the certificate is signed by nobody we trust");
    }

    #[test]
    fn what_a_server_cannot_do_is_said_in_words() {
        check(&Error::AlertReceived(Alert::ProtocolVersion), "the server speaks only TLS 1.1 or older", true);
        check(&Incompatible::ServerDoesNotSupportTls12Or13.into(), "the server speaks only TLS 1.1 or older", true);
        check(&Error::AlertReceived(Alert::UnrecognisedName), "the server knows no site of this name", true);
        check(&Error::AlertReceived(Alert::HandshakeFailure), "the server and we have no way of encryption", false);
        check(&Error::AlertReceived(Alert::InternalError), "the server refused: InternalError", false);
    }
}
