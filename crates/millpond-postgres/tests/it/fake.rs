//! What a real server will not do on demand, at the moment of connecting.

use crate::support::{Diary, one, variable};
use millpond_postgres::{Limits, PgPool};
use millpond_testkit::{FakeServer, Line, postgres_error};
use std::time::Duration;

/// A pool of one connection to the real server behind the fake one; the first who come meet the scripts.
async fn behind(scripts: Vec<Vec<Line>>) -> Option<(PgPool, FakeServer, Diary)> {
    let (url, address) = (variable("MILLPOND_TEST_POSTGRES_URL")?, variable("MILLPOND_TEST_POSTGRES_ADDRESS")?);
    let fake = FakeServer::start(scripts, Some(&address)).await.unwrap();
    let url = format!("{}?sslmode=disable", url.replace(&address, &fake.address().to_string()));
    let diary = Diary::default();
    // The limit is what one who falls silent costs.
    let options = one().limits(Limits::Off).connect_timeout(Duration::from_millis(500)).observer(diary.clone());
    Some((options.connect_lazy(&url).unwrap(), fake, diary))
}

async fn answers(pool: &PgPool) {
    let answer: i32 = sqlx::query_scalar("SELECT 4711").fetch_one(pool).await.unwrap();
    assert_eq!(answer, 4711);
}

#[tokio::test]
async fn a_server_that_is_starting_up_is_tried_until_it_is_there() {
    let starting = vec![Line::Hear, Line::Say(postgres_error("57P03", "the database system is starting up"))];
    let Some((pool, fake, diary)) = behind(vec![starting.clone(), starting.clone(), starting]).await else { return };
    answers(&pool).await;
    assert_eq!(diary.failed_connects(), 3);
    assert!(fake.accepted() >= 4);
}

#[tokio::test]
async fn a_server_that_falls_silent_or_hangs_up_half_way_costs_an_attempt_and_no_more() {
    let error = postgres_error("57P03", "the database system is starting up");
    let half = error[..error.len() / 2].to_vec();
    let scripts = vec![
        vec![Line::FallSilent],
        vec![Line::Hear, Line::Say(half.clone()), Line::FallSilent],
        vec![Line::Hear, Line::Say(half)],
        vec![Line::Hear, Line::Reset],
        vec![Line::Reset],
    ];
    let Some((pool, _fake, diary)) = behind(scripts).await else { return };
    answers(&pool).await;
    assert_eq!(diary.failed_connects(), 5);
}

#[tokio::test]
async fn a_server_that_refuses_for_good_fails_the_acquire_at_once() {
    let refusal = vec![Line::Hear, Line::Say(postgres_error("28P01", "password authentication failed"))];
    let Some((pool, fake, _)) = behind(vec![refusal]).await else { return };
    let error = pool.acquire().await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("28P01"));
    assert_eq!(fake.accepted(), 1);
}
