//! The benchmark's input: events of about 200 bytes, the same for the same seed.

use std::fmt::Write;
use std::io::BufRead;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::json::ReaderBuilder;
use millstream_connectors::decode::{Format, RecordAddress, RowDecoder};
use millstream_engine::Error;
use millstream_engine::definition::RelationDef;
use millstream_sql::{StatementKind, parse};

use crate::failure::Failure;

/// The declaration of the events; `connector` only says that it is an external stream.
pub(super) const DECLARATION: &str = "
CREATE STREAM events (
  event_time TIMESTAMP, company_id VARCHAR(16), userid VARCHAR(16), action VARCHAR(16),
  region VARCHAR(16), duration_ms INTEGER, bytes BIGINT, price DOUBLE,
  WATERMARK FOR event_time AS event_time - INTERVAL '5' SECOND
) WITH (connector = 'file', path = 'events.json', format = 'json');
CREATE STREAM companies (company_id VARCHAR(16), industry VARCHAR(16))
  WITH (connector = 'file', path = 'companies.json', format = 'json');
";

/// The first event's time: 2026-11-01 00:00:00 UTC.
const START_MS: u64 = 1_793_491_200_000;

/// Companies the events are spread over.
pub(super) const COMPANIES: u64 = 1_000;

/// Records decoded into one batch: what a source hands over at once.
const BATCH_ROWS: usize = 8_192;

/// Events as JSON, one per line.
#[derive(Debug)]
pub(super) struct Events {
    pub(super) json: Vec<u8>,
    count: u64,
}

impl Events {
    pub(super) fn generate(count: u64, seed: u64) -> Self {
        let mut json = String::new();
        let mut chance = Chance(seed);
        for number in 0..count {
            line(&mut json, number, &mut chance);
        }
        Self { json: json.into_bytes(), count }
    }

    pub(super) fn bytes_per_event(&self) -> f64 {
        self.json.len() as f64 / (self.count.max(1)) as f64
    }

    /// Decodes all declared columns and drops them.
    ///
    /// # Errors
    ///
    /// When an event is not decoded.
    pub(super) fn decode_all(&self) -> Result<(), Failure> {
        let def = definition("EVENTS")?;
        let projection: Vec<usize> = (0..def.columns.len()).collect();
        self.decode(&def, &projection).map(drop)
    }

    /// Decodes the columns `projection` of the stream's schema.
    ///
    /// # Errors
    ///
    /// When an event is not decoded.
    pub(super) fn decode(
        &self,
        def: &RelationDef,
        projection: &[usize],
    ) -> Result<Vec<RecordBatch>, Failure> {
        let mut decoder = RowDecoder::new(def, projection, &Format::Json)?;
        let partition: Arc<str> = "events".into();
        let address = RecordAddress {
            arrival_ms: 0,
            partition: &partition,
            position: &0,
            partition_key: None,
            sequence_number: None,
            shard_id: None,
        };
        let mut batches = Vec::new();
        for record in self.json.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            decoder.push(record, &address);
            if decoder.rows() == BATCH_ROWS {
                batches.push(rows(&mut decoder)?);
            }
        }
        batches.push(rows(&mut decoder)?);
        Ok(batches)
    }

    /// The same by arrow-json.
    ///
    /// # Errors
    ///
    /// When an event is not decoded.
    pub(super) fn decode_arrow_json(&self) -> Result<(), Failure> {
        arrow_json(self.json.as_slice())
    }
}

/// Decodes all declared columns of the events by arrow-json and drops them.
///
/// # Errors
///
/// When an event is not decoded.
pub(super) fn arrow_json(events: impl BufRead) -> Result<(), Failure> {
    let declared = definition("EVENTS")?.declared_schema();
    let lower = declared.fields().iter();
    let lower = lower.map(|field| field.as_ref().clone().with_name(field.name().to_lowercase()));
    let schema = Arc::new(Schema::new(lower.collect::<Vec<_>>()));
    let reader = ReaderBuilder::new(schema).with_batch_size(BATCH_ROWS).build(events);
    for batch in reader.map_err(Error::from)? {
        batch.map_err(Error::from)?;
    }
    Ok(())
}

fn rows(decoder: &mut RowDecoder) -> Result<RecordBatch, Failure> {
    let (rows, bad) = decoder.finish()?;
    match bad.first() {
        Some(bad) => Err(Failure::new(format!("an event was not decoded: {}", bad.message))),
        None => Ok(rows),
    }
}

/// The stream `name` of [`DECLARATION`].
///
/// # Errors
///
/// When it is not there.
pub(super) fn definition(name: &str) -> Result<RelationDef, Failure> {
    let statements = parse(DECLARATION).map_err(|error| Failure::new(error.to_string()))?;
    let found = statements.into_iter().find_map(|statement| match statement.kind {
        StatementKind::CreateStream(create) if create.def.name == name => Some(create.def),
        _ => None,
    });
    found.ok_or_else(|| Failure::new(format!("no stream {name}")))
}

fn line(json: &mut String, number: u64, chance: &mut Chance) {
    const ACTIONS: [&str; 4] = ["job_submitted", "job_terminated", "login", "logoff"];
    // About a thousand events a second, up to two seconds out of order.
    let time_ms = START_MS + number + chance.below(2_000);
    let (seconds, milliseconds) = (time_ms / 1_000, time_ms % 1_000);
    let of_day = seconds - START_MS / 1_000;
    let (day, of_day) = (1 + of_day / 86_400, of_day % 86_400);
    // Writing into a String cannot fail.
    let _infallible = writeln!(
        json,
        "{{\"event_time\":\"2026-11-{day:02} {:02}:{:02}:{:02}.{milliseconds:03}\",\"company_id\":\"comp_{}\",\
         \"userid\":\"user_{}\",\"action\":\"{}\",\"region\":\"eu-west-{}\",\"duration_ms\":{},\
         \"bytes\":{},\"price\":{}.{:02}}}",
        of_day / 3_600,
        of_day / 60 % 60,
        of_day % 60,
        chance.below(COMPANIES),
        chance.below(100_000),
        ACTIONS[usize::try_from(chance.below(4)).unwrap_or(0)],
        1 + chance.below(3),
        chance.below(60_000),
        chance.below(1_000_000),
        chance.below(1_000),
        chance.below(100),
    );
}

/// A small generator (splitmix64), so that the input is the same on every machine.
#[derive(Debug)]
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }
}
