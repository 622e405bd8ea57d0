//! The prompt: a conversation in SQL.
//!
//! Lines are collected until they make a statement, the statement is carried out, the next prompt
//! appears. Lines that come from a pipe are taken the same way, without prompts and confirmations, and
//! the first error ends the conversation.

mod backslash;
mod complete;
mod lines;

use std::io::{IsTerminal, Write};

use millstream_sql::statement_is_complete;

use self::backslash::{Backslash, Next};
use self::lines::{Line, Lines};
use crate::cli::JobArgs;
use crate::commands::{read, runtime, session};
use crate::failure::Failure;
use crate::interrupt::{Interrupts, Stop};
use crate::output::Format;
use crate::session::{Changes, Manner, Session};

/// Holds a conversation on the terminal, or with whoever writes to standard input.
///
/// # Errors
///
/// With a person: only when the terminal fails. With a pipe: the first statement that fails.
pub fn converse(format: Format, job: &JobArgs) -> Result<(), Failure> {
    let person = std::io::stdin().is_terminal();
    let manner = if person { Manner::Interactive } else { Manner::Script };
    let session = session(manner, format, job)?;
    let lines = if person { Lines::editor()? } else { Lines::piped() };
    let runtime = runtime()?;
    let interrupts = runtime.block_on(async { Interrupts::listen() })?;
    let mut conversation =
        Conversation { session, lines, runtime, interrupts, person, stopped: false };
    if person {
        conversation.session.console_mut().say(&greeting())?;
    }
    conversation.hold()
}

fn greeting() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("Millstream {version}: continuous SQL. A statement ends with ; and \\? shows help.")
}

struct Conversation {
    session: Session,
    lines: Lines,
    runtime: tokio::runtime::Runtime,
    interrupts: Interrupts,
    person: bool,
    /// Whether the last statement was ended by Ctrl-C.
    stopped: bool,
}

impl Conversation {
    fn hold(&mut self) -> Result<(), Failure> {
        let mut text = String::new();
        loop {
            self.runtime.block_on(self.session.settle());
            self.lines.offer(&self.session, &text);
            match self.lines.next(text.is_empty())? {
                Line::Cancelled => text.clear(),
                Line::End => break,
                Line::Text(line) => {
                    if text.is_empty()
                        && let Some(command) = Backslash::parse(&line)
                    {
                        self.lines.remember(&line);
                        let next = command.and_then(|command| self.command(&command));
                        match self.survive(next)? {
                            Some(Next::Quit) => return self.stop_jobs(),
                            _ => continue,
                        }
                    }
                    text.push_str(&line);
                    text.push('\n');
                    if statement_is_complete(&text) {
                        let statement = std::mem::take(&mut text);
                        self.lines.remember(statement.trim());
                        let done = self.statement(&statement);
                        self.survive(done)?;
                        if self.stopped && !self.person {
                            return Ok(());
                        }
                    }
                }
            }
        }
        if !self.person {
            // The last statement of a pipe may lack its `;`, and nobody is left to type `\run`.
            self.statement(&text)?;
            if !self.session.pending_sinks().is_empty() {
                self.run_sinks()?;
            }
            // They end with their input, or by Ctrl-C.
            return self.carry_out(async |session, stop| session.wait_for_jobs(None, stop).await);
        }
        self.stop_jobs()
    }

    /// Ends the jobs behind the prompt, with everything committed.
    fn stop_jobs(&mut self) -> Result<(), Failure> {
        if !self.session.has_jobs() {
            return Ok(());
        }
        let done = self.statement("STOP JOB");
        self.survive(done).map(drop)
    }

    fn statement(&mut self, text: &str) -> Result<(), Failure> {
        if text.trim().is_empty() {
            return Ok(());
        }
        self.carry_out(async |session, stop| session.converse(text, stop).await)
    }

    fn run_sinks(&mut self) -> Result<(), Failure> {
        self.carry_out(async |session, stop| session.run_sinks(stop).await)
    }

    /// Does `work` with a fresh wish to stop that Ctrl-C reaches.
    fn carry_out(
        &mut self,
        work: impl AsyncFnOnce(&mut Session, &Stop) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (session, stopped) = (&mut self.session, &mut self.stopped);
        let done = self.interrupts.during(async |stop| {
            let done = work(session, &stop).await;
            *stopped = stop.is_asked();
            done
        });
        self.runtime.block_on(Box::pin(done))
    }

    fn command(&mut self, command: &Backslash) -> Result<Next, Failure> {
        match command {
            Backslash::Quit => return Ok(Next::Quit),
            Backslash::Help => self.session.console_mut().say(backslash::HELP)?,
            Backslash::Include(file) => {
                let (name, text) = read(file)?;
                let texts = [(name.as_str(), text.as_str())];
                self.carry_out(async |session, stop| session.run_script(&texts, stop).await)?;
            }
            Backslash::Run => self.run_sinks()?,
            Backslash::Describe(name) => self.statement(&format!("DESCRIBE {name}"))?,
            Backslash::List => {
                let declared = self.session.declared();
                for what in &declared {
                    self.statement(&format!("SHOW {what}"))?;
                }
                if declared.is_empty() {
                    self.session.console_mut().say("nothing is declared yet; \\? shows how")?;
                }
            }
            Backslash::Format(format) => self.session.console_mut().format = *format,
            Backslash::Changelog(wanted) => {
                self.session.console_mut().changes = Changes::changelog(*wanted);
            }
        }
        Ok(Next::Prompt)
    }

    /// With a person, an error is shown and the conversation goes on.
    fn survive<T>(&mut self, done: Result<T, Failure>) -> Result<Option<T>, Failure> {
        match done {
            Ok(value) => Ok(Some(value)),
            Err(failure) if self.person => {
                let text = match &failure {
                    Failure::Interrupted => "given up; what was not committed is lost",
                    other => other.text(),
                };
                let notes = &mut self.session.console_mut().notes;
                writeln!(notes, "{text}")?;
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }
}
