//! A connection to Kinesis: the standard AWS chain for endpoint, region and credentials, with what
//! stands in `WITH (…)` over it.
//!
//! No call waits for ever: the SDK's defaults have no read, attempt or operation timeout, ours do.

use std::fmt;
use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_sdk_kinesis::Client;
use millstream_engine::{Error, Result};

/// The longest a single attempt may take: a full page of 10 MiB over a slow line fits.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest a call may take, with the SDK's own second attempt.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest a TCP and TLS connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Where to connect, where it differs from the standard AWS chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectOptions {
    /// The URL of the endpoint.
    pub endpoint: Option<String>,
    /// The AWS region.
    pub region: Option<String>,
    /// The profile of the AWS configuration files.
    pub profile: Option<String>,
    /// A role to assume.
    pub role_arn: Option<String>,
    /// What the role's trust policy asks for.
    pub external_id: Option<String>,
}

/// A client and where it leads.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The client.
    pub client: Client,
    /// Where it leads.
    pub place: Place,
    /// Whether that is an emulator on this machine, which has no quotas.
    pub local: bool,
}

/// An endpoint and a region, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The URL of the endpoint.
    pub endpoint: String,
    /// The AWS region.
    pub region: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "region {}, endpoint {}", self.region, self.endpoint)
    }
}

/// Makes a client. Touches files and environment, not yet the network.
///
/// An endpoint on this machine's loopback is an emulator: where nothing else is configured it gets
/// the region `us-east-1` and made-up credentials, so that a demonstration needs no AWS account.
///
/// # Errors
///
/// When no region is configured.
pub async fn connect(options: &ConnectOptions) -> Result<Connection> {
    let endpoint = options.endpoint.clone().or_else(endpoint_of_environment);
    let local = endpoint.as_deref().is_some_and(is_loopback);
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT);
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(timeouts.build())
        // The reader and the producer have retries of their own, which know what is safe to repeat.
        .retry_config(RetryConfig::standard().with_max_attempts(2))
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(profile) = &options.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if local {
        loader = loader.credentials_provider(loopback_credentials(options));
    }
    let shared = Box::pin(loader.load()).await;
    let region = match shared.region() {
        Some(region) => region.clone(),
        None if local => Region::from_static("us-east-1"),
        None => {
            return Err(Error::settings("no AWS region is configured")
                .with_hint("set AWS_REGION, the region of the profile, or the option 'region'"));
        }
    };
    let endpoint = endpoint.or_else(|| shared.endpoint_url().map(str::to_owned));
    let place = Place {
        endpoint: endpoint.unwrap_or_else(|| format!("https://kinesis.{region}.amazonaws.com")),
        region: region.to_string(),
    };
    let mut config = aws_sdk_kinesis::config::Builder::from(&shared).region(region);
    // Only of Kinesis: the role is assumed elsewhere.
    if let Some(url) = &options.endpoint {
        config = config.endpoint_url(url);
    }
    if let Some(role) = &options.role_arn {
        let mut role = AssumeRoleProvider::builder(role).session_name("millstream");
        if let Some(id) = &options.external_id {
            role = role.external_id(id);
        }
        config = config.credentials_provider(Box::pin(role.configure(&shared).build()).await);
    }
    Ok(Connection { client: Client::from_conf(config.build()), place, local })
}

/// What the SDK will read as the endpoint, as far as it comes from the environment.
fn endpoint_of_environment() -> Option<String> {
    let names = ["AWS_ENDPOINT_URL_KINESIS", "AWS_ENDPOINT_URL"];
    names.iter().find_map(|name| std::env::var(name).ok().filter(|url| !url.is_empty()))
}

fn is_loopback(endpoint: &str) -> bool {
    let Ok(url) = url::Url::parse(endpoint) else { return false };
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Environment, then profile, then made up. Not the whole chain: its last links ask the network.
fn loopback_credentials(options: &ConnectOptions) -> CredentialsProviderChain {
    let mut profile = ProfileFileCredentialsProvider::builder();
    if let Some(name) = &options.profile {
        profile = profile.profile_name(name);
    }
    let made_up = Credentials::new("loopback", "loopback", None, None, "loopback endpoint");
    CredentialsProviderChain::first_try(
        "environment",
        EnvironmentVariableCredentialsProvider::new(),
    )
    .or_else("profile", profile.build())
    .or_else("loopback", made_up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_an_emulator() {
        assert!(is_loopback("http://127.0.0.1:4567"));
        assert!(is_loopback("http://localhost:4567/"));
        assert!(is_loopback("http://[::1]:4567"));
        assert!(!is_loopback("https://kinesis.eu-west-1.amazonaws.com"));
        assert!(!is_loopback("http://127.0.0.1.example.com"));
        assert!(!is_loopback("no url"));
    }

    #[tokio::test]
    async fn what_stands_in_with_is_what_messages_name() {
        let options = ConnectOptions {
            endpoint: Some("http://127.0.0.1:1".into()),
            region: Some("eu-west-3".into()),
            ..ConnectOptions::default()
        };
        let place = connect(&options).await.unwrap().place;
        assert_eq!(place.to_string(), "region eu-west-3, endpoint http://127.0.0.1:1");
    }
}
