//! The founding application with data of its own: companies, jobs, and a nested loop that says what
//! their join is.

use std::fmt::Write;
use std::fs;
use std::path::Path;

/// The columns of the result, in the order of [`Sample::expected`].
pub(super) const COLUMNS: &str =
    "company_id,industry,revenu,employees,job30,job90,monthlyFee,totalFee";

const INDUSTRIES: [&str; 6] = ["travel", "finance", "gov", "service", "retail", "health care"];

/// A row of `companies`.
#[derive(Debug, Clone)]
struct Company {
    id: String,
    industry: &'static str,
    numbers: [u64; 6],
}

/// A row of `jobs`.
#[derive(Debug, Clone)]
struct Job {
    company: String,
    user: String,
    submitted: u64,
}

/// Input of the application, and its result.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    companies: Vec<Company>,
    jobs: Vec<Job>,
}

impl Sample {
    /// `companies` companies (one id twice), and `jobs` jobs, some of companies that do not exist.
    pub(super) fn new(companies: u64, jobs: u64) -> Self {
        let company = |n: u64| Company {
            id: format!("comp_{}", if n == 1 { 0 } else { n }),
            industry: INDUSTRIES[usize::try_from(n * 7 % 6).expect("it is below six")],
            numbers: [
                n * 9_270 + 1,
                n * 37 + 5,
                n % 9,
                n * 11 % 101,
                n * 53 + 400,
                n * 211 + 1_000,
            ],
        };
        let job = |n: u64| Job {
            company: format!("comp_{}", n * n * 31 % (companies + 3)),
            user: format!("user_{}", n % 5),
            submitted: n % 4 + 1,
        };
        Self {
            companies: (0..companies).map(company).collect(),
            jobs: (0..jobs).map(job).collect(),
        }
    }

    /// The rows of the join as CSV lines, sorted.
    pub(super) fn expected(&self) -> Vec<String> {
        let mut rows = Vec::new();
        for job in &self.jobs {
            for company in self.companies.iter().filter(|company| company.id == job.company) {
                let [revenu, employees, job30, job90, monthly, total] = company.numbers;
                rows.push(format!(
                    "{},{},{revenu},{employees},{},{},{monthly},{total}",
                    company.id,
                    company.industry,
                    job30 + job.submitted,
                    job90 + job.submitted
                ));
            }
        }
        rows.sort();
        assert!(rows.len() > self.jobs.len() / 2, "the sample must join");
        rows
    }

    /// How many rows both inputs have.
    pub(super) fn rows_in(&self) -> usize {
        self.companies.len() + self.jobs.len()
    }

    /// The industries that appear in the result, as folder names.
    pub(super) fn industries(&self) -> Vec<&str> {
        let mut found: Vec<&str> = self
            .expected()
            .iter()
            .filter_map(|row| INDUSTRIES.into_iter().find(|i| row.contains(i)))
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    pub(super) fn companies_csv(&self) -> String {
        let mut text = format!("{COLUMNS}\n");
        for company in &self.companies {
            let numbers: Vec<String> = company.numbers.iter().map(u64::to_string).collect();
            writeln!(text, "{},{},{}", company.id, company.industry, numbers.join(",")).unwrap();
        }
        text
    }

    pub(super) fn jobs_csv(&self) -> String {
        let mut text = "company_id,userid,job_submitted\n".to_owned();
        for job in &self.jobs {
            writeln!(text, "{},{},{}", job.company, job.user, job.submitted).unwrap();
        }
        text
    }

    pub(super) fn companies_json(&self) -> String {
        let names: Vec<&str> = COLUMNS.split(',').collect();
        let mut text = String::new();
        for company in &self.companies {
            let mut object = serde_json::Map::new();
            object.insert(names[0].into(), company.id.clone().into());
            object.insert(names[1].into(), company.industry.into());
            for (name, number) in names[2..].iter().zip(company.numbers) {
                object.insert((*name).into(), number.into());
            }
            writeln!(text, "{}", serde_json::Value::Object(object)).unwrap();
        }
        text
    }

    pub(super) fn jobs_json(&self) -> String {
        let mut text = String::new();
        for job in &self.jobs {
            let object = serde_json::json!({
                "company_id": job.company, "userid": job.user, "job_submitted": job.submitted,
            });
            writeln!(text, "{object}").unwrap();
        }
        text
    }

    /// Writes both inputs into `folder`, as CSV and as JSON.
    pub(super) fn write(&self, folder: &Path) {
        fs::write(folder.join("companies.csv"), self.companies_csv()).unwrap();
        fs::write(folder.join("jobs.csv"), self.jobs_csv()).unwrap();
        fs::write(folder.join("companies.json"), self.companies_json()).unwrap();
        fs::write(folder.join("jobs.json"), self.jobs_json()).unwrap();
    }
}

/// The application's text, for inputs and an output of these options.
pub(super) fn application(companies: &str, jobs: &str, output: &str) -> String {
    format!(
        "SET unbounded_state = 'allow';
CREATE STREAM companies (company_id VARCHAR(16), industry VARCHAR(16), revenu BIGINT,
  employees BIGINT, job30 INTEGER, job90 INTEGER, monthlyFee BIGINT, totalFee BIGINT)
  WITH ({companies});
CREATE STREAM jobs (company_id VARCHAR(16), userid VARCHAR(16), job_submitted INTEGER)
  WITH ({jobs});
CREATE SINK company_jobs WITH ({output}) AS
  SELECT STREAM c.company_id, c.industry, c.revenu, c.employees,
    c.job30 + j.job_submitted AS job30, c.job90 + j.job_submitted AS job90,
    c.monthlyFee, c.totalFee
  FROM companies AS c JOIN jobs AS j ON c.company_id = j.company_id;
"
    )
}
