//! Each `sslmode` verifies the certificate as strictly as its name says.

use crate::backend::{tls_kind, tls_url};
use crate::refusals::refused_at_once;
use crate::support::{one, server};
use crate::tls::{is_encrypted, replace_certificate};
use millpond_testkit::{OwnServer, variable};

async fn refusal(url: &str) -> String {
    refused_at_once(url).await.to_string()
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused_at_once() {
    let Some(url) = tls_url() else { return };
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
async fn a_wrong_or_expired_certificate_is_refused_by_the_modes_that_verify_it() {
    let Some(mut server) = OwnServer::or_skip(&tls_kind()) else { return };
    let (url, ca) = (server.url().to_owned(), server.own_variable("CA").to_owned());
    let require = format!("{url}?sslmode=require");
    let verify_ca = format!("{url}?sslmode=verify-ca&ssl_ca={ca}");
    let verify_full = format!("{url}?sslmode=verify-full&ssl_ca={ca}");
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
