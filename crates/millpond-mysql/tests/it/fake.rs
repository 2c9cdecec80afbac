//! What a real server will not do on demand, at the moment of connecting.

use crate::support::{Diary, one, variable};
use millpond_mysql::{Limits, MySqlPool};
use millpond_testkit::{FakeServer, Line, mysql_error, mysql_greeting};
use std::time::Duration;

/// A pool of one connection to the real server behind the fake one; the first who come meet the scripts.
async fn behind(scripts: Vec<Vec<Line>>) -> Option<(MySqlPool, FakeServer, Diary)> {
    let (url, address) = (variable("MILLPOND_TEST_MARIADB_URL")?, variable("MILLPOND_TEST_MARIADB_ADDRESS")?);
    let fake = FakeServer::start(scripts, Some(&address)).await.unwrap();
    let diary = Diary::default();
    // The limit is what one who falls silent costs.
    let options = one().limits(Limits::Off).connect_timeout(Duration::from_millis(500)).observer(diary.clone());
    let url = url.replace(&address, &fake.address().to_string());
    Some((options.connect_lazy(&url).unwrap(), fake, diary))
}

async fn answers(pool: &MySqlPool) {
    let answer: i64 = sqlx::query_scalar("SELECT 4711").fetch_one(pool).await.unwrap();
    assert_eq!(answer, 4711);
}

#[tokio::test]
async fn a_server_without_room_is_tried_until_there_is_some() {
    let full = vec![Line::Say(mysql_error(1040, "#08004Too many connections"))];
    let Some((pool, fake, diary)) = behind(vec![full.clone(), full.clone(), full]).await else { return };
    answers(&pool).await;
    assert_eq!(diary.failed_connects(), 3);
    assert!(fake.accepted() >= 4);
}

#[tokio::test]
async fn a_server_that_falls_silent_or_hangs_up_half_way_costs_an_attempt_and_no_more() {
    let greeting = mysql_greeting();
    let half = greeting[..greeting.len() / 2].to_vec();
    let scripts = vec![
        vec![Line::FallSilent],
        vec![Line::Say(half.clone()), Line::FallSilent],
        vec![Line::Say(half)],
        vec![Line::Say(greeting.clone()), Line::FallSilent],
        vec![Line::Say(greeting), Line::Hear, Line::Reset],
        vec![Line::Reset],
    ];
    let Some((pool, _fake, diary)) = behind(scripts).await else { return };
    answers(&pool).await;
    assert_eq!(diary.failed_connects(), 6);
}
