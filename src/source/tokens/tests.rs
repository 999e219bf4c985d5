//! Tokens of an issuer of the tests' own, whose documents an API server of the tests' own hands out.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use http::{Request, Response};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

const ISSUER: &str = "https://kubernetes.default.svc";

/// A key of an issuer.
struct Signer {
    kid: &'static str,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl Signer {
    fn elliptic(kid: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Self {
            kid,
            algorithm: Algorithm::ES256,
            key: EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap(),
        }
    }

    fn rsa(kid: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        Self {
            kid,
            algorithm: Algorithm::RS256,
            key: EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap(),
        }
    }

    fn jwk(&self) -> Jwk {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.kid.to_owned());
        jwk
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.kid.to_owned());
        encode(&header, claims, &self.key).unwrap()
    }
}

/// The claims of a good token, with these changed.
fn claims(changed: &Value) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut claims = json!({
        "iss": ISSUER,
        "aud": [TOKEN_AUDIENCE],
        "exp": now.as_secs() + 600,
        "sub": "system:serviceaccount:shop:default",
        "kubernetes.io": {
            "namespace": "shop",
            "pod": {"name": "web-1", "uid": "uid-1"},
            "serviceaccount": {"name": "default", "uid": "uid-2"},
        },
    });
    for (name, value) in changed.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

/// An API server that has these keys, and counts how often they are fetched.
#[derive(Clone, Default)]
struct Issuer {
    keys: Arc<Mutex<Vec<Jwk>>>,
    fetched: Arc<AtomicU32>,
    away: Arc<std::sync::atomic::AtomicBool>,
}

impl Issuer {
    fn of(signers: &[&Signer]) -> Self {
        let issuer = Self::default();
        issuer.has(signers);
        issuer
    }

    fn has(&self, signers: &[&Signer]) {
        *self.keys.lock().unwrap() = signers.iter().map(|one| one.jwk()).collect();
    }

    fn tokens(&self) -> Tokens {
        let own = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let answer = own.answer(request.uri().path());
            async move { Ok::<_, std::convert::Infallible>(answer) }
        });
        Tokens::new(Client::new(service, "default"))
    }

    fn answer(&self, path: &str) -> Response<Body> {
        if self.away.load(Ordering::Relaxed) {
            let away = Response::builder().status(503);
            return away.body(Body::from(b"{}".to_vec())).unwrap();
        }
        let document = match path {
            DISCOVERY => json!({"issuer": ISSUER, "jwks_uri": "elsewhere"}),
            KEYS => {
                self.fetched.fetch_add(1, Ordering::Relaxed);
                json!(JwkSet {
                    keys: self.keys.lock().unwrap().clone()
                })
            }
            other => panic!("{other}"),
        };
        Response::new(Body::from(document.to_string().into_bytes()))
    }
}

#[tokio::test]
async fn a_pods_token_proves_which_pod_it_is() {
    for signer in [Signer::elliptic("1"), Signer::rsa("2")] {
        let tokens = Issuer::of(&[&signer]).tokens();
        let found = tokens.identify(&signer.sign(&claims(&json!({})))).await;
        let expected = PodIdentity {
            namespace: "shop".to_owned(),
            pod: "web-1".to_owned(),
            uid: "uid-1".to_owned(),
        };
        assert_eq!(found.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_token_that_is_not_of_a_pod_of_this_cluster_for_us_proves_nothing() {
    let (own, other) = (Signer::elliptic("1"), Signer::elliptic("1"));
    let unknown = Signer::rsa("9");
    let tokens = Issuer::of(&[&own]).tokens();
    let bound_to_nothing = json!({"kubernetes.io": {"namespace": "shop"}});
    let cases = [
        (
            "another audience",
            own.sign(&claims(&json!({"aud": ["vault"]}))),
        ),
        ("no audience", own.sign(&claims(&json!({"aud": null})))),
        (
            "it has ended",
            own.sign(&claims(&json!({"exp": 1_700_000_000}))),
        ),
        ("no end", own.sign(&claims(&json!({"exp": null})))),
        (
            "another issuer",
            own.sign(&claims(&json!({"iss": "https://example.com"}))),
        ),
        ("bound to no pod", own.sign(&claims(&bound_to_nothing))),
        (
            "another's key of the same name",
            other.sign(&claims(&json!({}))),
        ),
        ("a key that nobody knows", unknown.sign(&claims(&json!({})))),
        ("signed with the public key", confused(&own)),
        ("not signed", unsigned()),
        ("no token", "abc".to_owned()),
    ];
    for (what, token) in cases {
        let found = tokens.identify(&token).await;
        assert!(
            matches!(found, Err(TokenError::Invalid(_))),
            "{what}: {found:?}"
        );
    }
}

/// What an attacker makes who knows the public key: signed with it as a shared secret (RFC 8725 section 2.1).
fn confused(signer: &Signer) -> String {
    let public = serde_json::to_vec(&signer.jwk()).unwrap();
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some(signer.kid.to_owned());
    let key = EncodingKey::from_secret(&public);
    encode(&header, &claims(&json!({})), &key).unwrap()
}

/// `alg: none`, which no library makes.
fn unsigned() -> String {
    use base64::Engine;
    let encoder = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let header = encoder.encode(json!({"alg": "none", "kid": "1"}).to_string());
    let body = encoder.encode(claims(&json!({})).to_string());
    format!("{header}.{body}.")
}

#[tokio::test(start_paused = true)]
async fn new_keys_are_fetched_when_a_token_names_one_but_not_at_every_token() {
    let (old, new) = (Signer::elliptic("old"), Signer::elliptic("new"));
    let issuer = Issuer::of(&[&old]);
    let tokens = issuer.tokens();
    let (of_old, of_new) = (old.sign(&claims(&json!({}))), new.sign(&claims(&json!({}))));
    tokens.identify(&of_old).await.unwrap();
    assert_eq!(issuer.fetched.load(Ordering::Relaxed), 1);
    issuer.has(&[&old, &new]);
    // Whoever makes keys up must not have us ask for each.
    tokens.identify(&of_new).await.unwrap_err();
    assert_eq!(issuer.fetched.load(Ordering::Relaxed), 1);
    tokio::time::advance(AGAIN).await;
    tokens.identify(&of_new).await.unwrap();
    tokens.identify(&of_old).await.unwrap();
    assert_eq!(issuer.fetched.load(Ordering::Relaxed), 2);
}

/// Law 3, and Law 5 where nothing is known yet: the caller asks again.
#[tokio::test(start_paused = true)]
async fn without_the_api_server_known_keys_go_on_and_unknown_ones_are_no_refusal_for_good() {
    let signer = Signer::elliptic("1");
    let issuer = Issuer::of(&[&signer]);
    let token = signer.sign(&claims(&json!({})));
    let (known, unknown) = (issuer.tokens(), issuer.tokens());
    known.fetch().await.unwrap();
    issuer.away.store(true, Ordering::Relaxed);
    known.fetch().await.unwrap_err();
    known.identify(&token).await.unwrap();
    for _ in 0..2 {
        let found = unknown.identify(&token).await;
        assert!(matches!(found, Err(TokenError::NoKeys(_))), "{found:?}");
    }
    issuer.away.store(false, Ordering::Relaxed);
    tokio::time::advance(AGAIN).await;
    unknown.identify(&token).await.unwrap();
}
