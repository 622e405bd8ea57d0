//! Jobs behind the prompt: `START JOB`, `STOP JOB`, and the views they keep up to date.
//!
//! `START JOB` runs every sink that does not run yet, and every view, as one job; the prompt goes on.
//! A query over a view that a job keeps reads its rows as they are after an epoch, the same one for all
//! views of the job; other views are computed when they are asked for. What a running job uses can be
//! neither dropped nor replaced.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use millstream_engine::dataflow::{Dataflow, NodeId, NodeKind};
use millstream_engine::job::{Progress, Read};
use millstream_engine::task::OwnedTask;
use millstream_sql::StatementKind;
use millstream_sql::plan::{self, Planned};
use tokio::sync::{mpsc, oneshot, watch};

use super::Session;
use super::application::{Running, stop_or};
use super::inspect::JobRecord;
use crate::failure::Failure;
use crate::interrupt::Stop;
use crate::progress::summary;

/// A job that runs behind the prompt.
#[derive(Debug)]
pub(super) struct Background {
    /// As `SHOW JOBS` counts jobs, from 1.
    pub(super) number: usize,
    pub(super) progress: watch::Receiver<Progress>,
    stop: Stop,
    work: OwnedTask<millstream_engine::Result<Progress>>,
    reads: mpsc::Sender<Read>,
    views: BTreeMap<String, NodeId>,
    /// Kind and name of what it runs and what that is made of.
    uses: BTreeSet<(&'static str, String)>,
    dataflow: Arc<Dataflow>,
}

/// The rows of kept views, by name.
pub(super) type Kept = HashMap<String, Arc<dyn TableProvider>>;

impl Session {
    /// `START JOB`: runs what does not run yet behind the prompt.
    pub(super) async fn start_job(&mut self, stop: &Stop) -> Result<(), Failure> {
        let runs = |kind, name: &String| self.user_of(kind, name).is_some();
        let idle = |name: &&String| !runs("SINK", name);
        let sinks: Vec<String> = self.catalog.sinks.keys().filter(idle).cloned().collect();
        let (views, left_out) = self.views_to_keep();
        if sinks.is_empty() && views.is_empty() {
            return Err(Failure::with_hint(
                "there is nothing to start",
                "declare a sink or a view: CREATE VIEW name AS SELECT …",
            ));
        }
        let planned = self.plan_with_views(&sinks, &[], &views)?;
        self.warn_of_growth(&planned)?;
        let Some(running) = stop_or(stop, self.open(&planned, &[])).await? else { return Ok(()) };
        let number = self.run_behind(running, &planned, &sinks, &views);
        let names: Vec<&str> = sinks.iter().chain(&views).map(String::as_str).collect();
        let names = names.join(", ");
        self.console.note(&format!("job {number} runs {names}; STOP JOB {number} ends it"));
        for (view, why) in left_out {
            self.console.note(&format!("view {view} is computed when it is asked for: {why}"));
        }
        Ok(())
    }

    fn run_behind(
        &mut self,
        running: Running,
        planned: &Planned,
        sinks: &[String],
        views: &BTreeSet<String>,
    ) -> usize {
        let Running { job, reads, .. } = running;
        let (stop, progress) = (Stop::default(), watch::Sender::new(Progress::default()));
        let (stopping, observed) = (stop.receiver(), progress.subscribe());
        let work = OwnedTask::spawn(async move {
            Box::pin(job.run(stopping, move |now| {
                progress.send_replace(now.clone());
            }))
            .await
        });
        let dataflow = Arc::new(planned.dataflow.clone());
        let kept = dataflow.iter().filter_map(|(id, node)| match &node.kind {
            NodeKind::View(name) => Some((name.clone(), id)),
            _ => None,
        });
        let number = self.jobs.len() + 1;
        self.jobs.push(JobRecord::running(sinks.to_vec(), views.iter().cloned().collect()));
        self.background.push(Background {
            number,
            progress: observed,
            stop,
            work,
            reads,
            views: kept.collect(),
            uses: self.catalog.behind(sinks, views),
            dataflow,
        });
        number
    }

    /// The views that no job keeps yet: those that can run continuously, and why others cannot.
    fn views_to_keep(&self) -> (BTreeSet<String>, Vec<(String, String)>) {
        let kept = self.kept_views();
        let mut catalog = self.catalog.clone();
        catalog.sinks.clear();
        let (mut views, mut left_out) = (BTreeSet::new(), Vec::new());
        for name in self.catalog.views.keys().filter(|name| !kept.contains(*name)) {
            let alone = BTreeSet::from([name.clone()]);
            match plan::application_with_views(&catalog, &alone) {
                Ok(_) => views.extend(alone),
                Err(error) => left_out.push((name.clone(), error.message)),
            }
        }
        (views, left_out)
    }

    /// `STOP JOB`: ends the job `number`, or all, with everything committed.
    pub(super) async fn stop_job(
        &mut self,
        number: Option<usize>,
        stop: &Stop,
    ) -> Result<(), Failure> {
        let wanted = |job: &Background| number.is_none_or(|number| number == job.number);
        if !self.background.iter().any(wanted) {
            let message = match number {
                Some(number) => format!("job {number} does not run"),
                None => "no job runs".to_owned(),
            };
            return Err(Failure::with_hint(message, "SHOW JOBS lists them; START JOB starts one"));
        }
        self.background.iter().filter(|job| wanted(job)).for_each(|job| {
            job.stop.ask();
        });
        self.wait_for_jobs(number, stop).await
    }

    /// Waits until the job `number`, or all, have ended; asks them to when `stop` is asked for.
    ///
    /// # Errors
    ///
    /// When one of them fails.
    pub async fn wait_for_jobs(
        &mut self,
        number: Option<usize>,
        stop: &Stop,
    ) -> Result<(), Failure> {
        while let Some(at) =
            self.background.iter().position(|job| number.is_none_or(|n| n == job.number))
        {
            let job = self.background.remove(at);
            let asks = job.stop.clone();
            let ended = self.ended(job);
            tokio::pin!(ended);
            tokio::select! {
                done = &mut ended => { done?; continue }
                () = stop.asked() => asks.ask(),
            };
            ended.await?;
        }
        Ok(())
    }

    /// Reports on the jobs that have ended since the last time.
    pub async fn settle(&mut self) {
        while let Some(at) = self.background.iter().position(|job| job.work.is_finished()) {
            let job = self.background.remove(at);
            let number = job.number;
            if let Err(failure) = self.ended(job).await {
                self.console.note(&format!("job {number} failed: {failure}"));
            }
        }
    }

    /// Waits for the end of `job`, and notes and reports it.
    async fn ended(&mut self, job: Background) -> Result<(), Failure> {
        let Background { number, work, dataflow, .. } = job;
        let done = work.join().await.and_then(|done| done).map_err(Failure::from);
        if let Some(record) = self.jobs.get_mut(number - 1) {
            record.ended(done.as_ref());
        }
        let progress = done?;
        self.console.note(&format!("job {number} ended\n{}", summary(&progress, &dataflow)));
        Ok(())
    }

    /// Whether jobs run behind the prompt.
    pub fn has_jobs(&self) -> bool {
        !self.background.is_empty()
    }

    /// The job that uses the object `name` of a kind (`VIEW` …).
    pub(super) fn user_of(&self, kind: &str, name: &str) -> Option<usize> {
        let uses = |job: &&Background| job.uses.iter().any(|(k, n)| *k == kind && n == name);
        self.background.iter().find(uses).map(|job| job.number)
    }

    /// Refuses a statement that takes from a running job what it uses.
    pub(super) fn refuse_in_use(&self, kind: &StatementKind) -> Result<(), Failure> {
        let (object, name) = match kind {
            StatementKind::Drop { object, name, .. } => (object.as_str(), &name.value),
            StatementKind::CreateStream(c) if c.or_replace => ("STREAM", &c.def.name),
            StatementKind::CreateTable(c) if c.or_replace => ("TABLE", &c.def.name),
            StatementKind::CreateView { name, or_replace: true, .. } => ("VIEW", name),
            StatementKind::CreatePump(pump) if pump.or_replace => ("PUMP", &pump.name),
            StatementKind::CreateSink { create, .. } if create.or_replace => {
                ("SINK", &create.def.name)
            }
            _ => return Ok(()),
        };
        match self.user_of(object, name) {
            None => Ok(()),
            Some(job) => Err(Failure::with_hint(
                format_args!("{} {name} is used by job {job}", object.to_lowercase()),
                format_args!("STOP JOB {job} first"),
            )),
        }
    }

    /// The views that running jobs keep.
    pub(super) fn kept_views(&self) -> BTreeSet<String> {
        self.background.iter().flat_map(|job| job.views.keys().cloned()).collect()
    }

    /// The rows of the kept views among `names`; `None` if a job ended before it answered.
    pub(super) async fn read_kept(&self, names: &[String]) -> Result<Option<Kept>, Failure> {
        let mut kept = Kept::new();
        for job in &self.background {
            let wanted = job.views.iter().filter(|(view, _)| names.contains(view));
            let (views, nodes): (Vec<&String>, Vec<NodeId>) = wanted.unzip();
            if views.is_empty() {
                continue;
            }
            let (answer, answered) = oneshot::channel();
            let read = Read { views: nodes.clone(), answer };
            if job.reads.send(read).await.is_err() {
                return Ok(None);
            }
            let Ok(shown) = answered.await else { return Ok(None) };
            for ((view, node), rows) in views.into_iter().zip(nodes).zip(shown?.rows) {
                let schema = Arc::clone(&job.dataflow.node(node).schema);
                kept.insert(view.clone(), Arc::new(MemTable::try_new(schema, vec![rows])?));
            }
        }
        Ok(Some(kept))
    }
}
