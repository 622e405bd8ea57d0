//! Files as a stream: each file is a source partition, or all of them one after another are one.
//!
//! All partitions are made known before the first row, so that files not opened yet hold the
//! watermark. They are read in name order. What arrives with a row is the time its file was written,
//! so that reading the files again gives the same times.
//!
//! With `follow = 'true'` the source then looks, again and again, for new files and appended lines.

use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use millstream_engine::definition::RelationDef;
use millstream_engine::port::{PartitionId, Position, Resume, Source, SourceBatch, SourceEvent};
use millstream_engine::{Clock, Error, Result};

use super::lines::LastLine;
use super::location::{FileMeta, Location};
use super::options::{FileOptions, Reading};
use super::reader::{FileReader, ReadPlan};
use crate::options::RelationKind;
use crate::{Context, Until};

/// The pause between two looks at local files: a person who waits for a row does not notice it.
const LOCAL_POLL: Duration = Duration::from_millis(40);

/// A look at a folder of very many files takes time itself; the pause is this many times as long, so
/// that looking stays a small part of the work.
const LOOK_SHARE: u32 = 9;

/// How often a store is: a listing costs money there.
const REMOTE_POLL: Duration = Duration::from_secs(5);

/// Looks for changes that may fail one after another: ten seconds of local ones, twenty minutes of a
/// store's.
const FAILED_LOOKS_MAX: u32 = 250;

/// The files of a path as a stream.
#[derive(Debug)]
pub struct FileSource {
    plan: ReadPlan,
    location: Location,
    clock: Arc<dyn Clock>,
    /// Whether more may come when all is read, now or in a later run.
    follows: bool,
    /// Whether the run ends when all is read, whatever may come.
    until_caught_up: bool,
    events: VecDeque<SourceEvent>,
    /// Files to read on, in order.
    due: VecDeque<Arc<str>>,
    files: HashMap<Arc<str>, Followed>,
    /// The one partition of an ordered source.
    whole: Option<PartitionId>,
    /// Looks for changes that failed, one after another.
    failed_looks: u32,
    /// How long the last look took.
    look: Duration,
    resume: Resume,
}

/// What an earlier run has processed of a file.
enum Processed {
    Nothing,
    /// What is before this position.
    UpTo(String),
    All,
}

/// A file and how far it is read.
#[derive(Debug)]
struct Followed {
    meta: FileMeta,
    reader: Option<FileReader>,
}

impl FileSource {
    /// Opens the stream `def`, reading the columns `projection` of its stream schema, to go on from
    /// `resume`.
    ///
    /// # Errors
    ///
    /// When the path does not exist or cannot be read, or no file is there.
    pub async fn open(
        def: &RelationDef,
        projection: &[usize],
        resume: &Resume,
        context: &Context,
    ) -> Result<Self> {
        let options = FileOptions::parse(RelationKind::Stream, def)?;
        let location = Location::open(&options.path, &context.base).await?;
        let plan = ReadPlan {
            def: Arc::new(def.clone()),
            projection: projection.to_vec(),
            options,
            decoders: context.decoders,
        };
        Self::at(location, plan, resume, context).await
    }

    /// Opens the files at `location`.
    pub(super) async fn at(
        location: Location,
        plan: ReadPlan,
        resume: &Resume,
        context: &Context,
    ) -> Result<Self> {
        let follows = plan.options.reading == Reading::Follow;
        let until_caught_up = context.until == Until::CaughtUp;
        let files = location.list().await?;
        if files.is_empty() && (!follows || until_caught_up) && resume.is_empty() {
            return Err(no_files(&plan.options.path));
        }
        let ordered = plan.options.reading == Reading::Ordered;
        let mut source = Self {
            plan,
            location,
            clock: Arc::clone(&context.clock),
            follows,
            until_caught_up,
            events: VecDeque::new(),
            due: VecDeque::new(),
            files: HashMap::new(),
            whole: None,
            failed_looks: 0,
            look: Duration::ZERO,
            resume: resume.clone(),
        };
        if ordered {
            let whole = PartitionId::from(source.location.shown.as_str());
            if resume.is_finished(&whole) {
                return Ok(source);
            }
            source.whole = Some(whole);
            source.discover(source.whole.clone());
        }
        for file in files {
            source.take_in(file)?;
        }
        Ok(source)
    }

    /// What an earlier run has processed of the file `name`.
    fn processed(&self, name: &Arc<str>) -> Processed {
        let own = PartitionId(Arc::clone(name));
        let Some(whole) = &self.whole else {
            return match (self.resume.is_finished(&own), self.resume.position(&own)) {
                (true, _) => Processed::All,
                (false, Some(position)) => Processed::UpTo(position.0.clone()),
                (false, None) => Processed::Nothing,
            };
        };
        // The file's name and the position in it, which begins with a word and a number.
        let Some(Position(text)) = self.resume.position(whole) else { return Processed::Nothing };
        let split = [" byte ", " row "].iter().filter_map(|word| text.rfind(word)).max();
        let (file, position) = text.split_at(split.unwrap_or(text.len()));
        match name.as_ref().cmp(file) {
            Ordering::Less => Processed::All,
            Ordering::Equal => Processed::UpTo(position.trim_start().to_owned()),
            Ordering::Greater => Processed::Nothing,
        }
    }

    fn discover(&mut self, partition: Option<PartitionId>) {
        let discovered =
            partition.map(|partition| SourceEvent::Discovered { partition, parents: Vec::new() });
        self.events.extend(discovered);
    }

    /// Takes note of a file that is new, or has grown, or was replaced by a shorter one.
    fn take_in(&mut self, meta: FileMeta) -> Result<()> {
        let name = Arc::clone(&meta.shown);
        match self.files.get_mut(&name) {
            Some(known) if known.meta == meta => return Ok(()),
            Some(known) => {
                let has_grown = meta.size > known.meta.size;
                let is_other = meta.size < known.meta.size;
                if let (Some(reader), true) = (&mut known.reader, has_grown) {
                    reader.grow(&meta);
                } else if is_other {
                    known.reader = Some(self.plan.open(&self.location.store, &meta, None)?);
                }
                known.meta = meta;
                if !has_grown && !is_other {
                    return Ok(());
                }
            }
            None => {
                let processed = self.processed(&name);
                let position = match &processed {
                    Processed::All => return Ok(()),
                    Processed::UpTo(position) => Some(position.as_str()),
                    Processed::Nothing => None,
                };
                let reader = Some(self.plan.open(&self.location.store, &meta, position)?);
                self.files.insert(Arc::clone(&name), Followed { meta, reader });
                if self.whole.is_none() {
                    self.discover(Some(PartitionId(Arc::clone(&name))));
                }
            }
        }
        if !self.due.contains(&name) {
            self.due.push_back(name);
        }
        Ok(())
    }

    /// Reads on in the first file that is due; `None` when it is at its present end.
    async fn read(&mut self, name: &Arc<str>) -> Result<Option<SourceBatch>> {
        let Some(Followed { reader: Some(reader), .. }) = self.files.get_mut(name) else {
            return Ok(None);
        };
        let last_line = if self.follows { LastLine::Growing } else { LastLine::Whole };
        let Some((rows, bad)) = reader.next(last_line).await? else { return Ok(None) };
        let position = match &self.whole {
            Some(_) => Position(format!("{name} {}", reader.position())),
            None => Position(reader.position()),
        };
        let partition = self.whole.clone().unwrap_or_else(|| PartitionId(Arc::clone(name)));
        Ok(Some(SourceBatch { partition, rows, bad, position }))
    }

    /// A file is read to its present end.
    fn pause(&mut self, name: &Arc<str>) {
        self.due.pop_front();
        let partition = PartitionId(Arc::clone(name));
        if self.follows {
            self.events.push_back(SourceEvent::Idle { partition });
            return;
        }
        self.files.remove(name);
        if self.whole.is_none() {
            self.events.push_back(SourceEvent::Finished { partition });
        }
    }
}

#[async_trait]
impl Source for FileSource {
    async fn next(&mut self) -> Result<Option<SourceEvent>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if let Some(name) = self.due.front().map(Arc::clone) {
                match self.read(&name).await? {
                    Some(batch) => return Ok(Some(SourceEvent::Rows(batch))),
                    None => self.pause(&name),
                }
                continue;
            }
            if !self.follows || self.until_caught_up {
                let whole = self.whole.take();
                return Ok(whole.map(|partition| SourceEvent::Finished { partition }));
            }
            let pause = if self.location.is_local() { LOCAL_POLL } else { REMOTE_POLL };
            self.clock.sleep(pause.max(self.look * LOOK_SHARE).min(REMOTE_POLL)).await;
            let began = self.clock.monotonic();
            let looked = self.location.list().await;
            self.look = self.clock.monotonic().saturating_sub(began);
            let files = match looked {
                Ok(files) => files,
                // A file may be between two names, or a store out of reach for a moment.
                Err(error) => {
                    self.failed_looks += 1;
                    if self.failed_looks > FAILED_LOOKS_MAX {
                        return Err(error);
                    }
                    continue;
                }
            };
            self.failed_looks = 0;
            for file in files {
                self.take_in(file)?;
            }
        }
    }
}

/// The error of a path under which nothing is.
pub(super) fn no_files(path: &str) -> Error {
    Error::settings(format!("there are no files at '{path}'"))
        .with_hint("names beginning with '.' or '_' are passed over")
}
