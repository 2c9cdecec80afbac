//! Each `sslmode` behaves as its name says.

use crate::backend::{tls_kind, tls_url};
use crate::refusals::refused_at_once;
use crate::support::{one, server_variable};
use millpond_mysql::MySqlPool;
use millpond_testkit::{OwnServer, variable};
use sqlx::{Row, raw_sql};

pub async fn is_encrypted(pool: &MySqlPool) -> bool {
    let row = sqlx::query("SHOW SESSION STATUS LIKE 'Ssl_cipher'").fetch_one(pool).await.unwrap();
    !row.get::<String, _>(1).is_empty()
}

/// Restarts the server with the certificate of this name.
pub async fn replace_certificate(server: &mut OwnServer, name: &str) {
    server.stop("KILL").await.unwrap();
    server.replace_file("--ssl-cert=", &format!("{name}_CERT")).unwrap();
    server.replace_file("--ssl-key=", &format!("{name}_KEY")).unwrap();
    server.start_again("").unwrap();
    one().connect(&format!("{}?sslmode=required", server.url())).await.unwrap();
}

#[tokio::test]
async fn a_server_with_tls_is_used_as_the_mode_says() {
    let Some(url) = tls_url() else { return };
    let Some(ca) = server_variable("TLS_CA") else { return };
    let Some(wrong) = variable("MILLPOND_TEST_TLS_WRONG_CA") else { return };
    for query in [
        "".to_owned(),
        "?sslmode=preferred".to_owned(),
        "?sslmode=require".to_owned(),
        format!("?ssl_ca={ca}"),
        format!("?ssl_ca={ca}&ssl_check_hostname=false"),
        format!("?sslmode=required&ssl_ca={ca}"),
        format!("?sslmode=verify_ca&sslrootcert={ca}"),
        format!("?sslmode=verify-full&ssl_ca={ca}"),
    ] {
        let pool = one().connect(&format!("{url}{query}")).await.unwrap();
        assert!(is_encrypted(&pool).await, "{query}");
    }
    for query in [format!("?ssl_ca={wrong}"), format!("?sslmode=verify-identity&ssl_ca={wrong}")] {
        let text = refused_at_once(&format!("{url}{query}")).await.to_string();
        assert!(text.contains("certificate"), "{query}: {text}");
    }
    let text = refused_at_once(&format!("{url}?sslmode=disabled")).await.to_string();
    // Number 3159 where the server reports the reason, 1045 where it does not.
    assert!(text.contains("3159") || text.contains("Access denied"), "{text}");
}

#[tokio::test]
async fn a_server_that_demands_a_certificate_of_its_clients_accepts_the_right_one_and_no_other() {
    let Some(mut server) = OwnServer::or_skip(&tls_kind()) else { return };
    server.stop("KILL").await.unwrap();
    server.start_again(&format!("--ssl-ca={}", server.variable("TLS_CA"))).unwrap();
    let root = one().connect(&format!("{}?sslmode=required", server.url())).await.unwrap();
    raw_sql("CREATE USER miller@'127.0.0.1' REQUIRE X509").execute(&root).await.unwrap();
    let url = format!("mysql://miller@{}?sslmode=required", server.own_variable("ADDRESS"));
    let with = |cert: &str, key: &str| {
        let (cert, key) = (server.variable(cert), server.variable(key));
        format!("{url}&ssl_cert={cert}&ssl_key={key}")
    };
    let pool = one().connect(&with("TLS_CLIENT_CERT", "TLS_CLIENT_KEY")).await.unwrap();
    assert!(is_encrypted(&pool).await);
    let text = refused_at_once(&url).await.to_string();
    assert!(text.contains("Access denied"), "{text}");
    for (cert, key) in
        [("TLS_WRONG_CA", "TLS_WRONG_CA_KEY"), ("TLS_EXPIRED_CERT", "TLS_EXPIRED_KEY")]
    {
        let text = refused_at_once(&with(cert, key)).await.to_string();
        assert!(text.contains("certificate") || text.contains("alert"), "{cert}: {text}");
    }
}
