//! Each `sslmode` does what its name says.

use crate::refusals::refused_at_once;
use crate::support::{one, server};
use millpond_postgres::PgPool;
use millpond_testkit::{OwnServer, variable};
use std::fs;

async fn is_encrypted(pool: &PgPool) -> bool {
    sqlx::query_scalar("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetch_one(pool).await.unwrap()
}

/// The server comes back with another certificate, by the name that it was told under.
async fn replace_certificate(server: &mut OwnServer, name: &str) {
    server.stop("INT").await.unwrap();
    server.replace_file("ssl_cert_file=", &format!("{name}_CERT")).unwrap();
    server.replace_file("ssl_key_file=", &format!("{name}_KEY")).unwrap();
    server.start_again("").unwrap();
    one().connect(&format!("{}?sslmode=require", server.url())).await.unwrap();
}

async fn refusal(url: &str) -> String {
    refused_at_once(url).await.to_string()
}

#[tokio::test]
async fn a_server_with_tls_is_talked_to_as_the_mode_says() {
    let Some(url) = variable("MILLPOND_TEST_POSTGRES_TLS_URL") else { return };
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
        let text = refusal(&format!("{url}?sslmode={mode}")).await;
        assert!(text.contains("pg_hba") || text.contains("no encryption"), "{text}");
    }
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused_at_once() {
    let Some(url) = variable("MILLPOND_TEST_POSTGRES_TLS_URL") else { return };
    let Some(wrong) = variable("MILLPOND_TEST_TLS_WRONG_CA") else { return };
    for query in [
        format!("?sslmode=require&ssl_ca={wrong}"),
        format!("?sslmode=verify-ca&ssl_ca={wrong}"),
        format!("?sslmode=verify-full&ssl_ca={wrong}"),
        "?sslmode=verify-ca".to_owned(),
    ] {
        let text = refusal(&format!("{url}{query}")).await;
        assert!(text.contains("certificate"), "{query}: {text}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_refused_by_the_modes_that_ask_for_it() {
    let Some(server) = server() else { return };
    for mode in ["require", "verify-ca", "verify-full"] {
        let text = refusal(&format!("{}?sslmode={mode}", server.url)).await;
        assert!(text.contains("TLS"), "{mode}: {text}");
    }
    let pool = one().connect(&format!("{}?sslmode=prefer", server.url)).await.unwrap();
    assert!(!is_encrypted(&pool).await);
}

#[tokio::test]
async fn a_certificate_for_another_host_or_out_of_date_is_refused_by_the_modes_that_look_at_that() {
    let Some(mut server) = OwnServer::or_skip("postgres-tls") else { return };
    let (url, ca) = (server.url().to_owned(), server.told("POSTGRES_TLS_CA").to_owned());
    let require = format!("{url}?sslmode=require");
    let verify_ca = format!("{url}?sslmode=verify-ca&sslrootcert={ca}");
    let verify_full = format!("{url}?sslmode=verify-full&sslrootcert={ca}");
    assert!(is_encrypted(&one().connect(&verify_full).await.unwrap()).await);

    replace_certificate(&mut server, "TLS_WRONG_HOST").await;
    for url in [&require, &verify_ca] {
        assert!(is_encrypted(&one().connect(url).await.unwrap()).await, "{url}");
    }
    let text = refusal(&verify_full).await;
    assert!(text.contains("certificate not valid for name \"127.0.0.1\""), "{text}");

    replace_certificate(&mut server, "TLS_EXPIRED").await;
    assert!(is_encrypted(&one().connect(&require).await.unwrap()).await);
    for url in [&verify_ca, &verify_full] {
        let text = refusal(url).await;
        assert!(text.contains("certificate expired"), "{url}: {text}");
    }
}

#[tokio::test]
async fn a_server_that_demands_a_certificate_of_its_clients_accepts_the_right_one_and_no_other() {
    let Some(mut server) = OwnServer::or_skip("postgres-tls") else { return };
    server.stop("INT").await.unwrap();
    fs::write(server.option("hba_file="), "hostssl all all 127.0.0.1/32 trust clientcert=verify-ca\n").unwrap();
    server.start_again(&format!("-c ssl_ca_file={}", server.told("TLS_CA"))).unwrap();
    let with = |cert: &str, key: &str| {
        let (cert, key) = (server.told(cert), server.told(key));
        format!("{}?sslmode=require&sslcert={cert}&sslkey={key}", server.url())
    };
    let pool = one().connect(&with("TLS_CLIENT_CERT", "TLS_CLIENT_KEY")).await.unwrap();
    assert!(is_encrypted(&pool).await);
    let text = refusal(&format!("{}?sslmode=require", server.url())).await;
    assert!(text.contains("valid client certificate"), "{text}");
    for (cert, key) in [("TLS_WRONG_CA", "TLS_WRONG_CA_KEY"), ("TLS_EXPIRED_CERT", "TLS_EXPIRED_KEY")] {
        let text = refusal(&with(cert, key)).await;
        assert!(text.contains("certificate") || text.contains("alert"), "{cert}: {text}");
    }
}
