//! Each `sslmode` behaves as its name says.

use crate::backend::{tls_kind, tls_url};
use crate::refusals::refused_at_once;
use crate::support::one;
use millpond_postgres::{PgConnectOptions, PgPool};
use millpond_sqlx::backend_api::connect_through_socket;
use millpond_testkit::{OwnServer, variable};
use sqlx::ConnectOptions;
use sqlx::postgres::PgSslMode;
use std::fs;
use std::str::FromStr;

pub async fn is_encrypted(pool: &PgPool) -> bool {
    sqlx::query_scalar("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        .fetch_one(pool)
        .await
        .unwrap()
}

/// Restarts the server with the certificate of this name.
pub async fn replace_certificate(server: &mut OwnServer, name: &str) {
    server.stop("INT").await.unwrap();
    server.replace_file("ssl_cert_file=", &format!("{name}_CERT")).unwrap();
    server.replace_file("ssl_key_file=", &format!("{name}_KEY")).unwrap();
    server.start_again("").unwrap();
    one().connect(&format!("{}?sslmode=require", server.url())).await.unwrap();
}

#[tokio::test]
async fn a_server_with_tls_is_used_as_the_mode_says() {
    let Some(url) = tls_url() else { return };
    let Some(ca) = variable("MILLPOND_TEST_POSTGRES_TLS_CA") else { return };
    for query in [
        "".to_owned(),
        "?sslmode=prefer".to_owned(),
        "?sslmode=require".to_owned(),
        format!("?sslmode=require&ssl_ca={ca}"),
        format!("?sslmode=verify-ca&sslrootcert={ca}"),
        format!("?sslmode=verify-full&sslrootcert={ca}"),
    ] {
        let pool = one().connect(&format!("{url}{query}")).await.unwrap();
        assert!(is_encrypted(&pool).await, "{query}");
    }
    for mode in ["disable", "allow"] {
        let text = refused_at_once(&format!("{url}?sslmode={mode}")).await.to_string();
        assert!(text.contains("pg_hba") || text.contains("no encryption"), "{text}");
    }
}

#[tokio::test]
async fn a_server_that_demands_a_certificate_of_its_clients_accepts_the_right_one_and_no_other() {
    let Some(mut server) = OwnServer::or_skip(&tls_kind()) else { return };
    server.stop("INT").await.unwrap();
    fs::write(
        server.option("hba_file="),
        "hostssl all all 127.0.0.1/32 trust clientcert=verify-ca\n",
    )
    .unwrap();
    server.start_again(&format!("-c ssl_ca_file={}", server.variable("TLS_CA"))).unwrap();
    let with = |cert: &str, key: &str| {
        let (cert, key) = (server.variable(cert), server.variable(key));
        format!("{}?sslmode=require&sslcert={cert}&sslkey={key}", server.url())
    };
    let pool = one().connect(&with("TLS_CLIENT_CERT", "TLS_CLIENT_KEY")).await.unwrap();
    assert!(is_encrypted(&pool).await);
    let text = refused_at_once(&format!("{}?sslmode=require", server.url())).await.to_string();
    assert!(text.contains("valid client certificate"), "{text}");
    for (cert, key) in
        [("TLS_WRONG_CA", "TLS_WRONG_CA_KEY"), ("TLS_EXPIRED_CERT", "TLS_EXPIRED_KEY")]
    {
        let text = refused_at_once(&with(cert, key)).await.to_string();
        assert!(text.contains("certificate") || text.contains("alert"), "{cert}: {text}");
    }
}

#[tokio::test]
async fn a_connect_to_one_address_of_a_host_still_verifies_its_name() {
    let Some(url) = tls_url() else { return };
    let Some(ca) = variable("MILLPOND_TEST_POSTGRES_TLS_CA") else { return };
    let options =
        PgConnectOptions::from_str(&url).unwrap().ssl_mode(PgSslMode::VerifyFull).ssl_root_cert(ca);
    let port = options.get_port();
    for (host, is_the_servers) in [("localhost", true), ("other.example", false)] {
        let options = options.clone().host(host);
        let address = format!("127.0.0.1:{port}").parse().unwrap();
        let name = format!(".s.PGSQL.{port}");
        let conn = connect_through_socket(address, &name, |dir| async move {
            options.socket(dir).connect().await
        })
        .await;
        assert_eq!(conn.is_ok(), is_the_servers, "{host}");
        if let Ok(mut conn) = conn {
            let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
            assert!(sqlx::query_scalar::<_, bool>(sql).fetch_one(&mut conn).await.unwrap());
        }
    }
}
