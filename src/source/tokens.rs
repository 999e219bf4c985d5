//! Checks the tokens that pods show, with the cluster's own keys and nothing else: the API server may be
//! away (Law 3). Kubernetes: "Managing Service Accounts", bound tokens; "Service account issuer discovery".

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet};
use jsonwebtoken::{DecodingKey, TokenData, Validation, decode, decode_header};
use kube::Client;
use serde::Deserialize;
use tokio::time::Instant;

use crate::api::pods::TOKEN_AUDIENCE;

/// The API server's documents.
const KEYS: &str = "/openid/v1/jwks";
const DISCOVERY: &str = "/.well-known/openid-configuration";
/// A token with a key that is not known has the keys fetched again, no more often than this.
const AGAIN: Duration = Duration::from_secs(10);

/// The pod that a token belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodIdentity {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// Its UID.
    pub uid: String,
}

/// Why a token proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It is none, has ended, is for somebody else, or is not signed by the cluster.
    #[error("{0}")]
    Invalid(String),
    /// The keys have not been fetched yet.
    #[error("the cluster's keys are not known: {0}")]
    NoKeys(String),
}

/// The cluster's keys, as they were fetched last.
pub struct Tokens {
    client: Client,
    keys: ArcSwap<Option<Keys>>,
    fetched: Mutex<Option<Instant>>,
}

struct Keys {
    issuer: String,
    set: JwkSet,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(rename = "kubernetes.io")]
    kubernetes: Bound,
}

/// What a token is bound to.
#[derive(Deserialize)]
struct Bound {
    namespace: String,
    pod: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    uid: String,
}

impl Tokens {
    /// Without keys yet.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            keys: ArcSwap::from_pointee(None),
            fetched: Mutex::default(),
        }
    }

    /// Fetches the keys. What was fetched before stays where that fails.
    pub async fn fetch(&self) -> Result<(), kube::Error> {
        let discovery: Discovery = self.get(DISCOVERY).await?;
        let set: JwkSet = self.get(KEYS).await?;
        self.keys.store(Arc::new(Some(Keys {
            issuer: discovery.issuer,
            set,
        })));
        Ok(())
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, kube::Error> {
        let request = http::Request::get(path)
            .body(Vec::new())
            .map_err(kube::Error::HttpError)?;
        self.client.request(request).await
    }

    /// The pod that shows this token.
    pub async fn identify(&self, token: &str) -> Result<PodIdentity, TokenError> {
        let kid = decode_header(token)
            .map_err(|error| TokenError::Invalid(error.to_string()))?
            .kid
            .ok_or_else(|| TokenError::Invalid("it names no key".to_owned()))?;
        let known = |keys: &Option<Keys>| {
            keys.as_ref()
                .is_some_and(|keys| keys.set.find(&kid).is_some())
        };
        if !known(&self.keys.load()) && self.may_fetch() {
            // The cluster's keys are turned over now and then.
            self.fetch()
                .await
                .map_err(|error| TokenError::NoKeys(error.to_string()))?;
        }
        match &**self.keys.load() {
            None => Err(TokenError::NoKeys("never fetched".to_owned())),
            Some(keys) => keys.check(token, &kid),
        }
    }

    fn may_fetch(&self) -> bool {
        let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let due = fetched.is_none_or(|last| now.duration_since(last) >= AGAIN);
        if due {
            *fetched = Some(now);
        }
        due
    }
}

impl Keys {
    fn check(&self, token: &str, kid: &str) -> Result<PodIdentity, TokenError> {
        let invalid = |why: String| TokenError::Invalid(why);
        let Some(key) = self.set.find(kid) else {
            return Err(invalid(
                "it is signed by a key that is not the cluster's".to_owned(),
            ));
        };
        let claims =
            decoded(token, key, &self.issuer).map_err(|error| invalid(error.to_string()))?;
        let bound = claims.claims.kubernetes;
        match bound.pod {
            Some(pod) => Ok(PodIdentity {
                namespace: bound.namespace,
                pod: pod.name,
                uid: pod.uid,
            }),
            None => Err(invalid("it is bound to no pod".to_owned())),
        }
    }
}

fn decoded(
    token: &str,
    key: &Jwk,
    issuer: &str,
) -> Result<TokenData<Claims>, jsonwebtoken::errors::Error> {
    let decoding = DecodingKey::from_jwk(key)?;
    // Only what the key itself is made for: what the token says of it is the caller's word.
    let mut validation = match &key.algorithm {
        AlgorithmParameters::RSA(_) => {
            let mut rsa = Validation::new(jsonwebtoken::Algorithm::RS256);
            rsa.algorithms.extend([
                jsonwebtoken::Algorithm::RS384,
                jsonwebtoken::Algorithm::RS512,
            ]);
            rsa
        }
        AlgorithmParameters::EllipticCurve(_) => {
            let mut curve = Validation::new(jsonwebtoken::Algorithm::ES256);
            curve.algorithms.push(jsonwebtoken::Algorithm::ES384);
            curve
        }
        _ => Validation::new(jsonwebtoken::Algorithm::EdDSA),
    };
    validation.set_audience(&[TOKEN_AUDIENCE]);
    validation.set_issuer(&[issuer]);
    validation.set_required_spec_claims(&["exp", "aud", "iss"]);
    decode(token, &decoding, &validation)
}
