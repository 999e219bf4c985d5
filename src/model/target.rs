//! What a person points at: `be/NAME` or `be/NAME/ADDRESS:PORT`.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use super::identity::{EndpointId, Member, ObjectName};

/// A Backend as a whole, or one of its static endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The Backend.
    pub backend: ObjectName,
    /// The one endpoint meant; all of the Backend's where absent.
    pub address: Option<SocketAddr>,
}

/// The text is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "target {text:?} is not be/NAME or be/NAME/ADDRESS:PORT (such as be/web or be/web/10.0.0.7:8080): {why}"
)]
pub struct TargetError {
    text: String,
    why: &'static str,
}

impl Target {
    /// Reads `be/NAME` or `be/NAME/ADDRESS:PORT` (`backend/` in place of `be/` is taken too), with the
    /// Backend in `namespace`.
    pub fn parse(text: &str, namespace: &str) -> Result<Self, TargetError> {
        let fail = |why| TargetError {
            text: text.to_owned(),
            why,
        };
        let (kind, rest) = text.split_once('/').ok_or(fail("it has no '/'"))?;
        if !matches!(kind, "be" | "backend" | "backends") {
            return Err(fail("it starts with another kind than 'be'"));
        }
        let (name, address) = match rest.split_once('/') {
            None => (rest, None),
            Some((name, address)) => (name, Some(address)),
        };
        if name.is_empty() {
            return Err(fail("the name is empty"));
        }
        let address = address
            .map(SocketAddr::from_str)
            .transpose()
            .map_err(|_| fail("the address is not IP:PORT (IPv6 as [IP]:PORT)"))?;
        Ok(Self {
            backend: ObjectName::new(namespace, name),
            address,
        })
    }

    /// Whether the endpoint is meant.
    pub fn covers(&self, id: &EndpointId) -> bool {
        self.backend == id.backend
            && self
                .address
                .is_none_or(|address| id.member == Member::Static(address))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "be/{}", self.backend.name)?;
        if let Some(address) = self.address {
            write!(f, "/{address}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_names_a_backend_or_one_endpoint() {
        let whole = Target::parse("be/web", "default").unwrap();
        assert_eq!(whole.to_string(), "be/web");
        let one = Target::parse("be/web/127.0.0.1:80", "default").unwrap();
        assert_eq!(one.address, Some("127.0.0.1:80".parse().unwrap()));
        let six = Target::parse("backend/web/[::1]:80", "default").unwrap();
        assert_eq!(six.to_string(), "be/web/[::1]:80");
        let id = EndpointId {
            backend: ObjectName::new("default", "web"),
            member: Member::Static("127.0.0.1:80".parse().unwrap()),
        };
        assert!(whole.covers(&id) && one.covers(&id) && !six.covers(&id));
    }

    #[test]
    fn what_is_no_target_is_refused_with_the_form_that_is() {
        for text in [
            "",
            "web",
            "lb/web",
            "be/",
            "be/web/",
            "be/web/localhost:80",
            "be/web/127.0.0.1",
        ] {
            let error = Target::parse(text, "default").unwrap_err().to_string();
            assert!(error.contains("be/NAME/ADDRESS:PORT"), "{text}: {error}");
        }
    }
}
