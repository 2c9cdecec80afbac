//! The certificates of the TLS servers, and certificates that a client must refuse.
//!
//! There are two authorities, one of which signs all certificates. The servers have a valid one for
//! `localhost` and `127.0.0.1`, one for another host, and an expired one; clients have one.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use super::run_as::RunAs;
use super::variables::Variables;

/// A certificate: the name of its file, its hosts, its use, and the year in which it expires.
const CERTIFICATES: [(&str, &[&str], ExtendedKeyUsagePurpose, i32); 4] = [
    ("server", RIGHT_HOSTS, ExtendedKeyUsagePurpose::ServerAuth, 2049),
    ("wrong-host", &["elsewhere.example.test"], ExtendedKeyUsagePurpose::ServerAuth, 2049),
    ("expired", RIGHT_HOSTS, ExtendedKeyUsagePurpose::ServerAuth, 2021),
    ("client", RIGHT_HOSTS, ExtendedKeyUsagePurpose::ClientAuth, 2049),
];
const RIGHT_HOSTS: &[&str] = &["localhost", "127.0.0.1"];

/// The directory of all certificates.
#[derive(Debug)]
pub struct Certificates {
    directory: PathBuf,
}

impl Certificates {
    /// Creates all certificates in this directory.
    pub fn make(directory: &Path) -> Result<Self, String> {
        RunAs::Current.make_directory(directory)?;
        let certificates = Self { directory: directory.to_owned() };
        let authority = certificates.make_authority("ca")?;
        certificates.make_authority("wrong-ca")?;
        let failed = |e: rcgen::Error| format!("could not make a certificate: {e}");
        for (name, hosts, usage, until) in CERTIFICATES {
            let mut params = params(name, hosts, until).map_err(failed)?;
            params.extended_key_usages = vec![usage];
            let key = KeyPair::generate().map_err(failed)?;
            let signed = params.signed_by(&key, &authority).map_err(failed)?;
            certificates.write(name, &signed.pem(), &key)?;
        }
        Ok(certificates)
    }

    fn make_authority(&self, name: &str) -> Result<CertifiedIssuer<'static, KeyPair>, String> {
        let failed = |e: rcgen::Error| format!("could not make an authority: {e}");
        let mut params = params(name, &[], 2049).map_err(failed)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().map_err(failed)?)
            .map_err(failed)?;
        self.write(name, &authority.pem(), authority.key())?;
        Ok(authority)
    }

    fn write(&self, name: &str, certificate: &str, key: &KeyPair) -> Result<(), String> {
        let path = self.directory.join(format!("{name}.pem"));
        // Servers that run as other users read the authority of their clients.
        let written = fs::write(&path, certificate)
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o644)));
        written.map_err(|e| format!("could not write {}: {e}", path.display()))?;
        RunAs::Current.write(&self.directory.join(format!("{name}.key")), key.serialize_pem())
    }

    /// Returns the path of the authority that signed the certificates.
    pub fn authority(&self) -> String {
        self.file("ca.pem")
    }

    /// Copies the valid certificate and its key into a server's directory, and returns both paths.
    pub fn install(&self, user: &RunAs, directory: &Path) -> Result<[String; 2], String> {
        let copy = |name: &str| {
            let to = directory.join(name);
            let contents = fs::read(self.directory.join(name))
                .map_err(|e| format!("could not read {name}: {e}"))?;
            user.write(&to, contents).map(|()| to.display().to_string())
        };
        Ok([copy("server.pem")?, copy("server.key")?])
    }

    /// Adds a variable for each file that a test may need.
    pub fn add(&self, variables: &mut Variables) {
        variables.add("TLS_CA", self.authority());
        variables.add("TLS_WRONG_CA", self.file("wrong-ca.pem"));
        variables.add("TLS_WRONG_CA_KEY", self.file("wrong-ca.key"));
        for (name, ..) in CERTIFICATES {
            let stem = format!("TLS_{}", name.to_uppercase().replace('-', "_"));
            variables.add(&format!("{stem}_CERT"), self.file(&format!("{name}.pem")));
            variables.add(&format!("{stem}_KEY"), self.file(&format!("{name}.key")));
        }
    }

    fn file(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }
}

fn params(name: &str, hosts: &[&str], until: i32) -> Result<CertificateParams, rcgen::Error> {
    let mut params =
        CertificateParams::new(hosts.iter().map(|&host| host.to_owned()).collect::<Vec<_>>())?;
    params.distinguished_name.push(rcgen::DnType::CommonName, format!("millpond {name}"));
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until, 1, 1));
    Ok(params)
}
