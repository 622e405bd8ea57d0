//! What happens on a platform for companies: users come and go, log in and off, and submit jobs that
//! end or are cancelled.
//!
//! Four logical streams: `companies` (each once, at the beginning), `users`, `jobs` (submitted) and
//! `job_ends` (terminated or cancelled).
//!
//! The invariant: the world is consistent. Only users that exist log in, only those logged in submit
//! jobs, and a job ends once, after it was submitted.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Event, FeedOptions, Timeline, Value};

const INDUSTRIES: [&str; 8] =
    ["travel", "finance", "gov", "retail", "health", "energy", "media", "education"];

/// The most users of a company at a time: the world stays of bounded size.
const USERS_MAX: usize = 200;

/// The most jobs of a company at a time.
const JOBS_MAX: usize = 500;

/// Events of the streams `companies`, `users`, `jobs` and `job_ends`.
#[derive(Debug)]
pub struct TenantGenerator {
    timeline: Timeline,
    rng: StdRng,
    companies: Vec<Company>,
    jobs_submitted: u64,
}

#[derive(Debug, Default)]
struct Company {
    users_added: u64,
    /// Users that exist, with whether they are logged in.
    users: Vec<(u64, bool)>,
    /// Running jobs: number and user.
    jobs: Vec<(u64, u64)>,
}

impl TenantGenerator {
    /// The platform these options stand for.
    pub fn new(options: FeedOptions) -> Self {
        let rng = StdRng::seed_from_u64(options.seed);
        let companies = Vec::new();
        Self { timeline: Timeline::new(options), rng, companies, jobs_submitted: 0 }
    }

    pub(super) fn options(&self) -> &FeedOptions {
        &self.timeline.options
    }

    fn company_event(&mut self, event_time_ms: i64) -> Event {
        let number = self.companies.len();
        self.companies.push(Company::default());
        let rng = &mut self.rng;
        let industry = INDUSTRIES[rng.random_range(0..INDUSTRIES.len())];
        let revenue = 10 * rng.random_range(500..10_000_i64);
        let job30 = rng.random_range(1..20_i64);
        let job90 = job30 + rng.random_range(5..100_i64);
        let monthly_fee = rng.random_range(100..1_000_i64);
        let text = |text: &str| Value::Text(text.to_owned());
        let columns = vec![
            ("company_id", Value::Text(format!("comp_{number}"))),
            ("industry", text(industry)),
            ("revenu", Value::Integer(revenue)),
            ("employees", Value::Integer(revenue / rng.random_range(2..5))),
            ("job30", Value::Integer(job30)),
            ("job90", Value::Integer(job90)),
            ("monthlyFee", Value::Integer(monthly_fee)),
            ("totalFee", Value::Integer(monthly_fee * rng.random_range(2..8))),
        ];
        Event { stream: "companies", partition_key: key(number), event_time_ms, columns }
    }

    /// Something that a company's users do, as far as they can.
    fn activity(&mut self, event_time_ms: i64) -> Event {
        let company = self.skewed_company();
        let act = self.rng.random_range(0..100);
        let state = &self.companies[company];
        let users = state.users.len();
        let at_work = state.users.iter().filter(|(_, at_work)| *at_work).count();
        match act {
            _ if users == 0 => self.add_user(company, event_time_ms),
            0..8 if users < USERS_MAX => self.add_user(company, event_time_ms),
            8..10 if users > 2 => self.delete_user(company, event_time_ms),
            10..28 if at_work < users => self.log(company, false, event_time_ms),
            28..38 if at_work > 1 => self.log(company, true, event_time_ms),
            38..62 if !state.jobs.is_empty() => self.end_job(company, event_time_ms),
            _ if at_work == 0 => self.log(company, false, event_time_ms),
            _ if state.jobs.len() < JOBS_MAX => self.submit_job(company, event_time_ms),
            _ => self.end_job(company, event_time_ms),
        }
    }

    /// Low numbers are busier, as some tenants always are.
    fn skewed_company(&mut self) -> usize {
        let count = self.companies.len();
        self.rng.random_range(0..count).min(self.rng.random_range(0..count))
    }

    fn add_user(&mut self, company: usize, time_ms: i64) -> Event {
        let state = &mut self.companies[company];
        let user = state.users_added;
        state.users_added += 1;
        state.users.push((user, false));
        user_event(company, user, "added", time_ms)
    }

    fn delete_user(&mut self, company: usize, time_ms: i64) -> Event {
        let state = &mut self.companies[company];
        let (user, _) = state.users.swap_remove(self.rng.random_range(0..state.users.len()));
        user_event(company, user, "deleted", time_ms)
    }

    /// Someone whose being at work is `at_work` changes that.
    fn log(&mut self, company: usize, at_work: bool, time_ms: i64) -> Event {
        let state = &mut self.companies[company];
        let mut able: Vec<_> = state.users.iter_mut().filter(|user| user.1 == at_work).collect();
        let index = self.rng.random_range(0..able.len());
        let user = &mut able[index];
        user.1 = !at_work;
        user_event(company, user.0, if at_work { "logoff" } else { "login" }, time_ms)
    }

    fn submit_job(&mut self, company: usize, time_ms: i64) -> Event {
        let state = &mut self.companies[company];
        let able: Vec<u64> = state.users.iter().filter(|user| user.1).map(|user| user.0).collect();
        let user = able[self.rng.random_range(0..able.len())];
        let job = self.jobs_submitted;
        self.jobs_submitted += 1;
        state.jobs.push((job, user));
        let columns = vec![
            ("company_id", Value::Text(key(company))),
            ("userid", Value::Text(format!("user_{user}"))),
            ("job_id", Value::Text(format!("job_{job}"))),
            ("job_submitted", Value::Integer(self.rng.random_range(1..4))),
            ("data_size", Value::Integer(1_000 * self.rng.random_range(1..1_000_i64))),
            ("event_time", Value::Time(time_ms)),
        ];
        event("jobs", company, columns, time_ms)
    }

    fn end_job(&mut self, company: usize, time_ms: i64) -> Event {
        let state = &mut self.companies[company];
        let (job, user) = state.jobs.swap_remove(self.rng.random_range(0..state.jobs.len()));
        let cancelled = self.rng.random_range(0..10) == 0;
        let outcome = if cancelled { "cancelled" } else { "terminated" };
        let columns = vec![
            ("company_id", Value::Text(key(company))),
            ("userid", Value::Text(format!("user_{user}"))),
            ("job_id", Value::Text(format!("job_{job}"))),
            ("outcome", Value::Text(outcome.to_owned())),
            ("event_time", Value::Time(time_ms)),
        ];
        event("job_ends", company, columns, time_ms)
    }
}

fn key(company: usize) -> String {
    format!("comp_{company}")
}

fn user_event(company: usize, user: u64, action: &str, time_ms: i64) -> Event {
    let columns = vec![
        ("company_id", Value::Text(key(company))),
        ("userid", Value::Text(format!("user_{user}"))),
        ("action", Value::Text(action.to_owned())),
        ("event_time", Value::Time(time_ms)),
    ];
    event("users", company, columns, time_ms)
}

fn event(
    stream: &'static str,
    company: usize,
    columns: Vec<(&'static str, Value)>,
    event_time_ms: i64,
) -> Event {
    Event { stream, partition_key: key(company), event_time_ms, columns }
}

impl Iterator for TenantGenerator {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let event_time_ms = self.timeline.next(&mut self.rng)?;
        let companies = usize::try_from(self.timeline.options.companies.max(1)).unwrap_or(1);
        Some(match self.companies.len() < companies {
            true => self.company_event(event_time_ms),
            false => self.activity(event_time_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    fn events(seed: u64, count: u64) -> Vec<Event> {
        let options = FeedOptions { seed, count: Some(count), ..FeedOptions::default() };
        TenantGenerator::new(options).collect()
    }

    fn text<'a>(event: &'a Event, name: &str) -> &'a str {
        match event.columns.iter().find(|(column, _)| *column == name) {
            Some((_, Value::Text(text))) => text,
            other => panic!("{name} of {event:?} is {other:?}"),
        }
    }

    #[test]
    fn the_seed_decides_everything() {
        assert_eq!(events(7, 1_000), events(7, 1_000));
        assert_ne!(events(7, 1_000), events(8, 1_000));
    }

    #[test]
    fn the_world_is_consistent() {
        let mut companies = HashSet::new();
        let mut at_work: HashMap<(String, String), bool> = HashMap::new();
        let mut running: HashMap<String, String> = HashMap::new();
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for event in events(42, 50_000) {
            *seen.entry(event.stream).or_default() += 1;
            let company = text(&event, "company_id").to_owned();
            assert_eq!(event.partition_key, company);
            if event.stream == "companies" {
                assert!(companies.insert(company));
                continue;
            }
            assert!(companies.contains(&company));
            let user = (company, text(&event, "userid").to_owned());
            match event.stream {
                "users" => match text(&event, "action") {
                    "added" => assert_eq!(at_work.insert(user, false), None),
                    "deleted" => assert!(at_work.remove(&user).is_some()),
                    "login" => assert_eq!(at_work.insert(user, true), Some(false)),
                    "logoff" => assert_eq!(at_work.insert(user, false), Some(true)),
                    other => panic!("{other}"),
                },
                "jobs" => {
                    assert_eq!(at_work.get(&user), Some(&true));
                    assert_eq!(running.insert(text(&event, "job_id").into(), user.1), None);
                }
                "job_ends" => {
                    assert_eq!(running.remove(text(&event, "job_id")), Some(user.1));
                }
                other => panic!("{other}"),
            }
        }
        assert_eq!(seen["companies"], 10);
        assert!(
            ["users", "jobs", "job_ends"].iter().all(|stream| seen[stream] > 5_000),
            "{seen:?}"
        );
    }
}
