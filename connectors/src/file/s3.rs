//! An S3 bucket as an object store: endpoint, region and credentials as the AWS command line finds
//! them.
//!
//! Credentials come from the AWS SDK's own chain (environment, profiles, SSO, container, instance), so
//! that reading Kinesis and writing S3 never happen under two identities.

use std::sync::Arc;

use async_trait::async_trait;
use aws_config::BehaviorVersion;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use millstream_engine::Result;
use object_store::aws::{AmazonS3Builder, AwsCredential};
use object_store::{CredentialProvider, ObjectStore, RetryConfig};

use super::location::store_error;

/// The region where none is configured: what S3 itself takes it to be.
const REGION_DEFAULT: &str = "us-east-1";

/// Retries of a request: with the pauses between them about six seconds, so that an endpoint that is not
/// there is reported soon.
const RETRIES_MAX: usize = 6;

/// Opens `bucket`. Touches files and environment, not yet the network.
///
/// The endpoint is `AWS_ENDPOINT_URL_S3`, else `AWS_ENDPOINT_URL`, else the profile's, else AWS. An
/// endpoint of one's own is addressed by path, since it has no names for buckets.
///
/// # Errors
///
/// When the configuration contradicts itself.
pub(crate) async fn open_bucket(bucket: &str) -> Result<Arc<dyn ObjectStore>> {
    let shared = Box::pin(aws_config::defaults(BehaviorVersion::latest()).load()).await;
    let region = shared.region().map_or(REGION_DEFAULT, |region| region.as_ref());
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_region(region)
        .with_retry(RetryConfig { max_retries: RETRIES_MAX, ..RetryConfig::default() });
    let of_s3 = std::env::var("AWS_ENDPOINT_URL_S3").ok().filter(|url| !url.is_empty());
    if let Some(endpoint) = of_s3.or_else(|| shared.endpoint_url().map(str::to_owned)) {
        builder = builder
            .with_allow_http(endpoint.starts_with("http://"))
            .with_virtual_hosted_style_request(false)
            .with_endpoint(endpoint);
    }
    if let Some(chain) = shared.credentials_provider() {
        builder = builder.with_credentials(Arc::new(Chain(chain)));
    }
    let store = builder.build().map_err(|error| store_error(&format!("s3://{bucket}"), error))?;
    Ok(Arc::new(store))
}

/// The SDK's chain, asked for each request; it keeps what it found until shortly before it expires.
#[derive(Debug)]
struct Chain(SharedCredentialsProvider);

#[async_trait]
impl CredentialProvider for Chain {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let found = self.0.provide_credentials().await.map_err(|error| {
            object_store::Error::Unauthenticated { path: "S3".into(), source: Box::new(error) }
        })?;
        Ok(Arc::new(AwsCredential {
            key_id: found.access_key_id().to_owned(),
            secret_key: found.secret_access_key().to_owned(),
            token: found.session_token().map(str::to_owned),
        }))
    }
}
