//! Where generated events go: Kinesis streams, files of a folder, or any writer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use aws_sdk_kinesis::Client;
use millstream_engine::{Error, Result};
use tokio::fs::File;
use tokio::io::{AsyncWrite, AsyncWriteExt, BufWriter};

use super::Event;
use super::drive::Target;
use crate::Context;
use crate::kinesis::StreamRef;
use crate::kinesis::producer::{Producer, PutCounts, create_stream_if_missing};

/// How events are written as lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineFormat {
    /// A JSON object per line.
    Json,
    /// CSV, with a header where a file begins.
    Csv,
}

impl LineFormat {
    fn line(self, event: &Event) -> String {
        let mut line = match self {
            Self::Json => event.json_line(),
            Self::Csv => event.csv_line(),
        };
        line.push('\n');
        line
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
        }
    }
}

/// Kinesis streams: the logical stream `jobs` goes to the Kinesis stream `{prefix}jobs`, one JSON
/// object per record. Streams that do not exist are made.
#[derive(Debug)]
pub struct KinesisTarget {
    client: Client,
    prefix: String,
    shards: u16,
    context: Context,
    producers: BTreeMap<&'static str, Producer>,
}

impl KinesisTarget {
    /// Writes through `client`; a stream that has to be made gets this many shards.
    pub fn new(client: Client, prefix: &str, shards: u16, context: &Context) -> Self {
        let (prefix, context) = (prefix.to_owned(), context.clone());
        Self { client, prefix, shards, context, producers: BTreeMap::new() }
    }

    /// What was done so far, by logical stream.
    pub fn counts(&self) -> BTreeMap<&'static str, PutCounts> {
        self.producers.iter().map(|(stream, producer)| (*stream, producer.counts())).collect()
    }

    async fn open(&mut self, stream: &'static str) -> Result<()> {
        let name = format!("{}{stream}", self.prefix);
        let (client, context) = (&self.client, &self.context);
        create_stream_if_missing(client, &name, self.shards, context).await?;
        let producer = Producer::new(client.clone(), StreamRef::parse(&name), context);
        self.producers.insert(stream, producer);
        Ok(())
    }
}

#[async_trait]
impl Target for KinesisTarget {
    async fn put(&mut self, event: &Event) -> Result<()> {
        if !self.producers.contains_key(event.stream) {
            self.open(event.stream).await?;
        }
        match self.producers.get_mut(event.stream) {
            Some(producer) => {
                producer.put(&event.partition_key, event.json_line().into_bytes()).await
            }
            None => Err(Error::bug(format!("no producer for {}", event.stream))),
        }
    }

    async fn flush(&mut self) -> Result<()> {
        for producer in self.producers.values_mut() {
            producer.flush().await?;
        }
        Ok(())
    }
}

/// A folder: the logical stream `jobs` goes to the file `jobs.json` or `jobs.csv`, written anew.
#[derive(Debug)]
pub struct FolderTarget {
    folder: PathBuf,
    format: LineFormat,
    files: BTreeMap<&'static str, BufWriter<File>>,
}

impl FolderTarget {
    /// Writes to `folder`, which is made unless it exists.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub async fn open(folder: &Path, format: LineFormat) -> Result<Self> {
        tokio::fs::create_dir_all(folder).await.map_err(|error| not_written(folder, error))?;
        Ok(Self { folder: folder.to_owned(), format, files: BTreeMap::new() })
    }

    fn path(&self, stream: &str) -> PathBuf {
        self.folder.join(format!("{stream}.{}", self.format.extension()))
    }

    async fn create(&mut self, event: &Event) -> Result<()> {
        let path = self.path(event.stream);
        let failed = |error| not_written(&path, error);
        let mut file = BufWriter::new(File::create(&path).await.map_err(failed)?);
        if self.format == LineFormat::Csv {
            let header = format!("{}\n", event.csv_header());
            file.write_all(header.as_bytes()).await.map_err(failed)?;
        }
        self.files.insert(event.stream, file);
        Ok(())
    }
}

fn not_written(path: &Path, error: std::io::Error) -> Error {
    Error::settings(format!("{} cannot be written: {error}", path.display()))
        .with_hint("check that the folder exists, may be written to, and has space left")
        .with_source(error)
}

#[async_trait]
impl Target for FolderTarget {
    async fn put(&mut self, event: &Event) -> Result<()> {
        if !self.files.contains_key(event.stream) {
            self.create(event).await?;
        }
        let (line, path) = (self.format.line(event), self.path(event.stream));
        let Some(file) = self.files.get_mut(event.stream) else {
            return Err(Error::bug(format!("no file for {}", event.stream)));
        };
        file.write_all(line.as_bytes()).await.map_err(|error| not_written(&path, error))
    }

    async fn flush(&mut self) -> Result<()> {
        for (stream, file) in &mut self.files {
            let place = self.folder.join(stream);
            file.flush().await.map_err(|error| not_written(&place, error))?;
        }
        Ok(())
    }
}

/// Any writer: the events of one logical stream, or of all of them mixed. CSV begins with a header
/// when it is one stream, and has none when streams are mixed.
#[derive(Debug)]
pub struct WriterTarget<W> {
    writer: BufWriter<W>,
    format: LineFormat,
    only: Option<String>,
    begun: bool,
}

impl<W: AsyncWrite + Send + Unpin> WriterTarget<W> {
    /// Writes to `writer`; with `only`, just the events of that logical stream.
    pub fn new(writer: W, format: LineFormat, only: Option<&str>) -> Self {
        let only = only.map(str::to_owned);
        Self { writer: BufWriter::new(writer), format, only, begun: false }
    }
}

fn pipe_failed(error: std::io::Error) -> Error {
    Error::settings(format!("the output cannot be written: {error}")).with_source(error)
}

#[async_trait]
impl<W: AsyncWrite + Send + Unpin> Target for WriterTarget<W> {
    async fn put(&mut self, event: &Event) -> Result<()> {
        if self.only.as_deref().is_some_and(|only| only != event.stream) {
            return Ok(());
        }
        let mut text = String::new();
        if !self.begun && self.format == LineFormat::Csv && self.only.is_some() {
            text = event.csv_header();
            text.push('\n');
        }
        self.begun = true;
        text.push_str(&self.format.line(event));
        self.writer.write_all(text.as_bytes()).await.map_err(pipe_failed)
    }

    async fn flush(&mut self) -> Result<()> {
        self.writer.flush().await.map_err(pipe_failed)
    }
}
