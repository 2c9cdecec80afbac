//! The certificates of the TLS servers, and those that a client must refuse.
//!
//! Two authorities, of which one signs everything; three certificates for servers: a right one for `localhost` and
//! `127.0.0.1`, one for another host, and one that has expired; and one for a client.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::children::Children;
use super::packages;
use super::process::Launch;
use super::run_as::Account;
use super::variables::Variables;

/// How long one call of OpenSSL may take.
const OPENSSL_MAX: Duration = Duration::from_secs(20);

/// `openssl ca`, since only that signs for a time in the past.
const AUTHORITY: &str = "\
[ca]
default_ca = us
[us]
database = issued.txt
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
rand_serial = yes
unique_subject = no
default_md = sha256
copy_extensions = copyall
policy = any
[any]
commonName = supplied
";

/// A certificate: its file's name, the host it is of, what it is for, and when it holds.
struct Issued {
    name: &'static str,
    hosts: &'static str,
    usage: &'static str,
    days: [&'static str; 4],
}

const ISSUED: [Issued; 4] = [
    Issued { name: "server", hosts: RIGHT_HOSTS, usage: "serverAuth", days: VALID },
    Issued { name: "wrong-host", hosts: "DNS:elsewhere.example.test", usage: "serverAuth", days: VALID },
    Issued { name: "expired", hosts: RIGHT_HOSTS, usage: "serverAuth", days: PAST },
    Issued { name: "client", hosts: RIGHT_HOSTS, usage: "clientAuth", days: VALID },
];
const RIGHT_HOSTS: &str = "DNS:localhost,IP:127.0.0.1";
const VALID: [&str; 4] = ["-startdate", "20200101000000Z", "-enddate", "20491231235959Z"];
const PAST: [&str; 4] = ["-startdate", "20200101000000Z", "-enddate", "20200201000000Z"];

/// Where they are.
#[derive(Debug)]
pub struct Certificates {
    home: PathBuf,
}

impl Certificates {
    /// Makes all of them.
    ///
    /// # Errors
    ///
    /// When OpenSSL is not there or refuses.
    pub fn make(children: &Children, home: &Path) -> Result<Self, String> {
        let us = Account::Current;
        us.make_directory(home)?;
        us.write(&home.join("ca.conf"), AUTHORITY)?;
        us.write(&home.join("issued.txt"), "")?;
        let program = packages::find("openssl")?;
        let openssl = |name: &str, args: &[&str]| {
            let launch = Launch::helper(&format!("openssl-{name}"), &us, &program, home).args(args.iter().copied());
            children.run(&launch, OPENSSL_MAX)
        };
        for name in ["ca", "wrong-ca"] {
            let (key, file, subject) = (format!("{name}.key"), format!("{name}.pem"), format!("/CN=millpond {name}"));
            let new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
            let files = ["-keyout", &key, "-out", &file, "-days", "30", "-subj", &subject];
            let usage = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"];
            // The machine's own configuration would add extensions a second time.
            let bare = ["-config", "/dev/null"];
            openssl(name, &[&new[..], &files, &usage, &bare].concat())?;
        }
        for Issued { name, hosts, usage, days } in ISSUED {
            let (key, request, file) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
            let names = format!("subjectAltName={hosts}");
            let purpose = format!("extendedKeyUsage={usage}");
            let subject = format!("/CN=millpond {name}");
            let new = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
            let files = ["-keyout", &key, "-out", &request, "-subj", &subject, "-config", "/dev/null"];
            let usage = ["-addext", &names, "-addext", &purpose];
            openssl(&format!("{name}-request"), &[&new[..], &files, &usage].concat())?;
            let sign = ["ca", "-batch", "-notext", "-config", "ca.conf", "-in", &request, "-out", &file];
            openssl(name, &[&sign[..], &days].concat())?;
        }
        Ok(Self { home: home.to_owned() })
    }

    /// The authority that signed the servers' certificates.
    pub fn authority(&self) -> String {
        self.file("ca.pem")
    }

    /// Copies the right certificate and its key to where a server finds and owns them; returns both paths.
    ///
    /// # Errors
    ///
    /// When they cannot be copied.
    pub fn install(&self, account: &Account, home: &Path) -> Result<[String; 2], String> {
        let copy = |name: &str| {
            let to = home.join(name);
            let contents = std::fs::read(self.home.join(name)).map_err(|e| format!("could not read {name}: {e}"))?;
            account.write(&to, contents).map(|()| to.display().to_string())
        };
        Ok([copy("server.pem")?, copy("server.key")?])
    }

    /// Tells every file that a test may want.
    pub fn tell(&self, variables: &mut Variables) {
        variables.tell("TLS_CA", self.authority());
        variables.tell("TLS_WRONG_CA", self.file("wrong-ca.pem"));
        variables.tell("TLS_WRONG_CA_KEY", self.file("wrong-ca.key"));
        for Issued { name, .. } in ISSUED {
            let stem = format!("TLS_{}", name.to_uppercase().replace('-', "_"));
            variables.tell(&format!("{stem}_CERT"), self.file(&format!("{name}.pem")));
            variables.tell(&format!("{stem}_KEY"), self.file(&format!("{name}.key")));
        }
    }

    fn file(&self, name: &str) -> String {
        self.home.join(name).display().to_string()
    }
}
