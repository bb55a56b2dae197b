//! temporary
pub mod connect;
pub mod statements;
pub mod tls;
pub mod writer;
use super::*;
use connect::PgSettings;
pub struct Tmp(pub PgSettings);
fn e(x: tokio_postgres::Error) -> StoreError {
    connect::error_from(&x, "tmp")
}
struct Ob(tokio_postgres::Client);
impl Outbox for Ob {
    fn pending(&mut self, limit: u32) -> BoxFuture<'_, Result<Vec<StoredDeadLetter>, StoreError>> {
        Box::pin(async move {
            let rows = self.0.query("select id, topic, partition, incarnation, \"offset\", key, value, headers::text, \"timestamp\", timestamp_type, code, message, stage, attempts, consumer_id from dead_letters where published_at is null order by id limit $1", &[&(limit as i64)]).await.map_err(e)?;
            Ok(rows
                .iter()
                .map(|r| StoredDeadLetter {
                    id: r.get(0),
                    incarnation: r.get(3),
                    record: OwnedRecord {
                        topic: r.get(1),
                        partition: r.get(2),
                        offset: r.get(4),
                        key: r.get(5),
                        value: r.get(6),
                        headers: headers::from_json(r.get(7)),
                        timestamp: crate::domain::record::RecordTimestamp {
                            ms: r.get(8),
                            kind: crate::domain::record::TimestampType::from_name(r.get(9)),
                        },
                    },
                    code: r.get(10),
                    message: r.get(11),
                    stage: r.get(12),
                    attempts: r.get(13),
                    consumer_id: r.get(14),
                    failed_at_ms: 0,
                    published_at_ms: None,
                    publish_outcome: None,
                    publish_error: None,
                })
                .collect())
        })
    }
    fn mark<'a>(&'a mut self, answers: &'a [(i64, PublishOutcome)]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let ids: Vec<i64> = answers.iter().map(|a| a.0).collect();
            self.0
                .execute(
                    "update dead_letters set published_at = now(), publish_outcome='published' where id = any($1)",
                    &[&ids],
                )
                .await
                .map_err(e)?;
            Ok(())
        })
    }
}
impl Tmp {
    async fn c(&self) -> Result<tokio_postgres::Client, StoreError> {
        connect::connect(&self.0, "drover/tmp").await
    }
    async fn t(&self, topic: &str) -> Result<Option<TopicProgress>, StoreError> {
        let c = self.c().await?;
        let Some(r) =
            c.query_opt("select topic_id, incarnation from topics where topic=$1", &[&topic]).await.map_err(e)?
        else {
            return Ok(None);
        };
        let ps = c
            .query(
                "select partition, incarnation, first_offset, next_offset from partition_progress where topic=$1",
                &[&topic],
            )
            .await
            .map_err(e)?;
        Ok(Some(TopicProgress {
            topic_id: r.get(0),
            incarnation: r.get(1),
            partitions: ps
                .iter()
                .map(|p| (p.get(0), Progress { incarnation: p.get(1), first_offset: p.get(2), next_offset: p.get(3) }))
                .collect(),
        }))
    }
}
impl Store for Tmp {
    fn kind(&self) -> &'static str {
        "postgres"
    }
    fn migrate(&self) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        Box::pin(async move {
            let c = self.c().await?;
            if c.query_one("select to_regclass('events')::text", &[])
                .await
                .map_err(e)?
                .get::<_, Option<String>>(0)
                .is_none()
            {
                c.batch_execute(include_str!("../../../migrations/postgres/2026-11-23-000000_create_store/up.sql"))
                    .await
                    .map_err(e)?;
            }
            Ok(vec![])
        })
    }
    fn revert_migration(&self) -> BoxFuture<'_, Result<Option<String>, StoreError>> {
        unimplemented!()
    }
    fn migrations(&self) -> BoxFuture<'_, Result<Vec<Migration>, StoreError>> {
        unimplemented!()
    }
    fn check_schema(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        unimplemented!()
    }
    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.c().await?.query_one("select 1", &[]).await.map_err(e)?;
            Ok(())
        })
    }
    fn claim_identity<'a>(
        &'a self,
        cluster_id: &'a str,
        group: &'a str,
    ) -> BoxFuture<'a, Result<StoreIdentity, StoreError>> {
        Box::pin(async move {
            let c = self.c().await?;
            c.execute("insert into store_identity (store_id, cluster_id, consumer_group) values ($1,$2,$3) on conflict do nothing", &[&uuid::Uuid::new_v4().to_string(), &cluster_id, &group]).await.map_err(e)?;
            let r =
                c.query_one("select store_id, cluster_id, consumer_group from store_identity", &[]).await.map_err(e)?;
            Ok(StoreIdentity { store_id: r.get(0), cluster_id: r.get(1), group: r.get(2) })
        })
    }
    fn topic<'a>(&'a self, topic: &'a str) -> BoxFuture<'a, Result<Option<TopicProgress>, StoreError>> {
        Box::pin(self.t(topic))
    }
    fn register_topic<'a>(
        &'a self,
        topic: &'a str,
        topic_id: Option<&'a str>,
        starts: &'a BTreeMap<i32, i64>,
    ) -> BoxFuture<'a, Result<TopicProgress, StoreError>> {
        Box::pin(async move {
            let mut c = self.c().await?;
            let tx = c.transaction().await.map_err(e)?;
            let n = tx
                .execute(
                    "insert into topics(topic, topic_id) values ($1,$2) on conflict do nothing",
                    &[&topic, &topic_id],
                )
                .await
                .map_err(e)?;
            if n == 1 {
                for (p, o) in starts {
                    tx.execute("insert into partition_progress(topic,partition,incarnation,first_offset,next_offset) values ($1,$2,1,$3,$3)", &[&topic, p, o]).await.map_err(e)?;
                }
            }
            tx.commit().await.map_err(e)?;
            Ok(self.t(topic).await?.unwrap())
        })
    }
    fn add_partitions<'a>(
        &'a self,
        topic: &'a str,
        starts: &'a BTreeMap<i32, i64>,
    ) -> BoxFuture<'a, Result<TopicProgress, StoreError>> {
        Box::pin(async move {
            let c = self.c().await?;
            for (p, o) in starts {
                c.execute("insert into partition_progress(topic,partition,incarnation,first_offset,next_offset) values ($1,$2,1,$3,$3) on conflict do nothing", &[&topic, p, o]).await.map_err(e)?;
            }
            Ok(self.t(topic).await?.unwrap())
        })
    }
    fn writer(&self, name: &str) -> Box<dyn StoreWriter> {
        Box::new(writer::PgWriter::new(self.0.clone(), name))
    }
    fn outbox(&self) -> BoxFuture<'_, Result<Option<Box<dyn Outbox>>, StoreError>> {
        Box::pin(async move { Ok(Some(Box::new(Ob(self.c().await?)) as Box<dyn Outbox>)) })
    }
    fn unpublished(&self) -> BoxFuture<'_, Result<i64, StoreError>> {
        Box::pin(async move {
            Ok(self
                .c()
                .await?
                .query_one("select count(*) from dead_letters where published_at is null", &[])
                .await
                .map_err(e)?
                .get(0))
        })
    }
    fn dead_letters<'a>(&'a self, _: &'a DeadLetterFilter) -> BoxFuture<'a, Result<Vec<StoredDeadLetter>, StoreError>> {
        unimplemented!()
    }
    fn dead_letter<'a>(
        &'a self,
        _: &'a str,
        _: i32,
        _: i64,
    ) -> BoxFuture<'a, Result<Option<StoredDeadLetter>, StoreError>> {
        unimplemented!()
    }
    fn topics(&self) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        unimplemented!()
    }
    fn range_content<'a>(
        &'a self,
        _: &'a str,
        _: i32,
        _: i32,
        _: i64,
        _: i64,
    ) -> BoxFuture<'a, Result<RangeContent, StoreError>> {
        unimplemented!()
    }
}
pub fn tmp(c: &crate::config::StoreConfig) -> std::sync::Arc<dyn Store> {
    std::sync::Arc::new(Tmp(PgSettings {
        url: c.url.clone(),
        schema: c.schema.clone(),
        transaction_timeout: c.transaction_timeout,
        lock_timeout: c.lock_timeout,
    }))
}
