//! Certificates that servers may show, most of them wrong, a server a line.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::duplex;

use super::*;
use crate::link::Stream;
use crate::link::tls::{accept, connect};

/// An authority, and what it signs.
struct Authority {
    name: &'static str,
    key: KeyPair,
}

/// What a server shows, and its key.
type Shown = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn params(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Authority {
    fn new(name: &'static str) -> Authority {
        Authority { name, key: KeyPair::generate().unwrap() }
    }

    fn params(&self) -> CertificateParams {
        let mut params = params(self.name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn pem(&self) -> String {
        self.params().self_signed(&self.key).unwrap().pem()
    }

    fn sign(&self, params: &CertificateParams) -> Shown {
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::new(self.params(), &self.key);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        (vec![certificate.der().clone()], key.into())
    }
}

fn self_signed(params: &CertificateParams) -> (Shown, String) {
    let key = KeyPair::generate().unwrap();
    let made = params.self_signed(&key).unwrap();
    let der = PrivatePkcs8KeyDer::from(key.serialize_der());
    ((vec![made.der().clone()], der.into()), made.pem())
}

fn authorities(pem: &[&str]) -> Result<Authorities, TlsError> {
    let number = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let file = std::env::temp_dir().join(format!("forebay-ca-{}-{number}", std::process::id()));
    std::fs::write(&file, pem.concat()).unwrap();
    let read = Authorities::read(&file);
    std::fs::remove_file(&file).unwrap();
    read
}

fn shows((chain, key): &Shown) -> Arc<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    Arc::new(config.with_single_cert(chain.clone(), key.clone_key()).unwrap())
}

/// Whether a server that shows this is believed at `db:3306`, or why not.
async fn meet(tls: &BackendTls, shown: &Shown) -> String {
    let (near, far) = duplex(64 * 1024);
    let serving = accept(Stream::from(far), shows(shown), &[]);
    let asking = async {
        let asked = connect(Stream::from(near), tls, "10.0.0.5:3306").await;
        asked.map_or_else(|error| error.to_string(), |_| "believed".into())
    };
    tokio::join!(asking, serving).0
}

async fn check(tls: &BackendTls, shown: &Shown, expected: &str) {
    let outcome = meet(tls, shown).await;
    assert!(outcome.contains(expected), "{outcome}, not {expected}");
}

#[tokio::test]
async fn only_what_an_authority_signed_is_believed() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    // As MySQL writes them: a NUL behind each. And the same name on all of them.
    let namesake = Authority::new("ours");
    let pem = [&namesake, &theirs, &ours].map(|authority| authority.pem() + "\0");
    let both = authorities(&pem.each_ref().map(String::as_str)).unwrap();
    let tls = BackendTls::verified(Mode::VerifyCa, both).unwrap();
    let named = params("db", &["db"]);
    // MySQL's own name nobody.
    let nameless = params("MySQL_Server_9.7.0_Auto_Generated_Server_Certificate", &[]);
    check(&tls, &ours.sign(&nameless), "believed").await;
    check(&tls, &theirs.sign(&named), "believed").await;
    let stranger = Authority::new("ours");
    assert_ne!(meet(&tls, &stranger.sign(&named)).await, "believed", "of the same name");
    let unknown = Authority::new("nobody");
    check(&tls, &unknown.sign(&named), "signed by none of the authorities").await;
    check(&tls, &self_signed(&named).0, "signed by none of the authorities").await;
    let mut old = named.clone();
    (old.not_before, old.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    check(&tls, &ours.sign(&old), "out of date").await;
    let mut early = named.clone();
    (early.not_before, early.not_after) = (date_time_ymd(2900, 1, 1), date_time_ymd(2901, 1, 1));
    check(&tls, &ours.sign(&early), "not valid yet").await;
}

/// Whoever listened has seen the certificate; the key that belongs to it he has not.
#[tokio::test]
async fn a_certificate_without_its_key_is_worth_nothing() {
    let ours = Authority::new("ours");
    let trusted = authorities(&[&ours.pem()]).unwrap();
    let tls = BackendTls::verified(Mode::VerifyCa, trusted).unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (chain, _) = ours.sign(&params("db", &["db"]));
        let (_, key) = ours.sign(&params("db", &["db"]));
        let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
        let shown = rustls::sign::CertifiedKey::new(chain, key);
        let stolen = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(shown)));
        let (near, far) = duplex(64 * 1024);
        let asked = connect(Stream::from(near), &tls, "db:3306");
        let (asked, _) = tokio::join!(asked, accept(Stream::from(far), Arc::new(stolen), &[]));
        let error = asked.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("BadSignature"), "{version:?}: {error}");
    }
}

#[tokio::test]
async fn a_certificate_that_signed_itself_is_believed_if_it_was_given() {
    let mut as_authority = params("db", &["db"]);
    as_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    for params in [as_authority, params("db", &["db"])] {
        let (shown, pem) = self_signed(&params);
        let tls = BackendTls::verified(Mode::VerifyCa, authorities(&[&pem]).unwrap()).unwrap();
        check(&tls, &shown, "believed").await;
        assert_ne!(meet(&tls, &self_signed(&params).0).await, "believed", "another one");
    }
    let mut old = params("db", &["db"]);
    old.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (old.not_before, old.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    let (shown, pem) = self_signed(&old);
    let tls = BackendTls::verified(Mode::VerifyCa, authorities(&[&pem]).unwrap()).unwrap();
    check(&tls, &shown, "out of date").await;
}

#[tokio::test]
async fn an_identity_is_the_name_in_the_configuration() {
    let ours = Authority::new("ours");
    let trusted = || authorities(&[&ours.pem()]).unwrap();
    let verified = |mode| BackendTls::verified(mode, trusted()).unwrap();
    // Names in the certificate, names of the address, outcome.
    let cases: &[(&[&str], &[&str], &str)] = &[
        (&["db"], &["db:3306"], "believed"),
        (&["db.shop", "other"], &["db.shop:3306"], "believed"),
        (&["*.mysql.shop"], &["mysql-0.mysql.shop:3306"], "believed"),
        (&["mysql-0.mysql"], &["mysql-read:3306", "mysql-0.mysql:3306"], "believed"),
        (&["10.0.0.5"], &[], "believed"),
        (&["10.0.0.5"], &["10.0.0.5:3306"], "believed"),
        (&["10.0.0.5"], &["db:3306"], "not valid for name"),
        (&["other"], &["db:3306"], "not valid for name"),
        (&["db"], &[], "not valid for name"),
        (&[], &["db:3306"], "not valid for name"),
        (&["db"], &["no name at all:3306"], "invalid"),
    ];
    for (in_certificate, of_address, expected) in cases {
        let tls = verified(Mode::VerifyIdentity);
        of_address.iter().for_each(|name| tls.know("10.0.0.5:3306", name));
        tls.know("10.0.0.6:3306", "other:3306");
        let shown = ours.sign(&params("db", in_certificate));
        check(&tls, &shown, expected).await;
        check(&verified(Mode::VerifyCa), &shown, "believed").await;
    }
    let stranger = Authority::new("theirs").sign(&params("db", &["10.0.0.5"]));
    check(&verified(Mode::VerifyIdentity), &stranger, "signed by none").await;
}

#[tokio::test]
async fn authorities_change_while_it_runs() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let tls = BackendTls::verified(Mode::VerifyCa, authorities(&[&old.pem()]).unwrap()).unwrap();
    let (before, after) = (old.sign(&params("db", &[])), new.sign(&params("db", &[])));
    let shared = tls.clone();
    shared.trust(authorities(&[&new.pem()]).unwrap()).unwrap();
    check(&tls, &after, "believed").await;
    check(&tls, &before, "signed by none").await;
    // Where nobody is verified, nobody is from then on either.
    let anyone = BackendTls::unverified(Mode::Required).unwrap();
    anyone.trust(authorities(&[&new.pem()]).unwrap()).unwrap();
    check(&anyone, &before, "believed").await;
    assert!(BackendTls::unverified(Mode::VerifyCa).is_err());
}

#[test]
fn a_file_without_authorities_is_refused() {
    let told = |pem: &[&str]| authorities(pem).err().map(|error| error.to_string());
    assert!(told(&["no certificate"]).unwrap().contains("no certificate in it"));
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(told(&[nonsense]).is_some());
    assert!(told(&[&Authority::new("a").pem(), nonsense]).is_some(), "not even one");
}

#[test]
fn what_is_known_of_addresses_is_bounded() {
    let tls = BackendTls::unverified(Mode::Required).unwrap();
    for number in 0..10_000 {
        tls.know(&format!("10.0.0.1:{number}"), "db:3306");
        tls.know("10.0.0.2:3306", &format!("db-{number}:3306"));
        tls.note(&format!("10.0.0.1:{number}"), Some(&nobody()));
    }
    let names = tls.names.0.lock().unwrap();
    assert!(names.len() <= ADDRESSES_MAX);
    assert!(tls.suspects.lock().unwrap().len() <= ADDRESSES_MAX);
    assert!(names.values().all(|names| names.len() <= SERVERS_MAX));
}
