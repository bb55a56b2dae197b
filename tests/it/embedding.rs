//! A program that embeds drover: the example itself, run as it stands.

#[path = "../../examples/enrich.rs"]
#[allow(dead_code, reason = "main() and the way with arguments are the example's")]
mod enrich;

use diesel::prelude::*;

#[derive(QueryableByName)]
struct Counts {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    enriched: i64,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    rejected: i64,
}

#[test]
fn the_example_enriches_three_events_of_four_and_rejects_the_fourth() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("enrich.db");
    let receipt = enrich::with_nothing_installed(&format!("sqlite:{}", path.display())).unwrap();
    assert_eq!((receipt.stored, receipt.dead_letters, receipt.duplicates), (30, 10, 0), "{receipt}");
    assert!(receipt.is_clean(), "{receipt}");
    let mut connection = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    let counts: Counts = diesel::sql_query(
        "SELECT (SELECT count(*) FROM events WHERE json_extract(payload, '$.section') IS NOT NULL) AS enriched,
                (SELECT count(*) FROM dead_letters WHERE code = 'processor.rejected'
                    AND message = 'no section of the shop has \"old_banner\"'
                    AND value NOT LIKE '%section%') AS rejected",
    )
    .get_result(&mut connection)
    .unwrap();
    assert_eq!((counts.enriched, counts.rejected), (30, 10));
}
