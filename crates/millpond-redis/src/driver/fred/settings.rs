//! Settings of fred's own client. By default it waits without a limit, repeats commands that may
//! have been executed, and reconnects unnoticed.

use crate::connect::login::Login;
use crate::connect::node::Node;
use crate::connect::options::{Deployment, RedisConnectOptions, SentinelTls};
use crate::driver::tls::rustls_config;
use crate::error::RedisError;
use fred::clients::Client;
use fred::types::config::{
    ClusterDiscoveryPolicy, Config, ConnectionConfig, PerformanceConfig, Server, ServerConfig,
    TlsConnector, UnresponsiveConfig,
};
use std::time::Duration;

/// A client that is not connected yet.
///
/// # Errors
///
/// [`RedisError::Setup`] if there are no certificates, or if only the sentinels or only their
/// master are encrypted, for which fred has no setting.
pub(crate) fn client(options: &RedisConnectOptions) -> Result<Client, RedisError> {
    if let Deployment::Sentinel { tls, .. } = &options.deployment
        && !is_as_master(tls, options)
    {
        let reason = "fred encrypts sentinels and their master alike";
        return Err(RedisError::Setup { reason: reason.to_owned() });
    }
    let Login { user, password } = options.login.clone();
    let config = Config {
        // The pool repeats a first attempt that fails.
        fail_fast: true,
        server: server(&options.deployment),
        username: user,
        password,
        database: (options.database > 0).then_some(options.database),
        tls: options
            .tls
            .as_ref()
            .map(|tls| rustls_config(tls).map(|config| TlsConnector::from(config).into()))
            .transpose()?,
        ..Config::default()
    };
    let limit = options.command_timeout;
    let connection = ConnectionConfig {
        connection_timeout: limit,
        internal_command_timeout: limit,
        // At most once.
        max_command_attempts: 1,
        // fred takes the next answer on a connection for that to its ASKING.
        max_redirections: 0,
        unresponsive: UnresponsiveConfig {
            max_timeout: None,
            interval: (limit / 8).max(Duration::from_millis(1)),
        },
        ..ConnectionConfig::default()
    };
    let performance =
        PerformanceConfig { default_command_timeout: limit, ..PerformanceConfig::default() };
    Ok(Client::new(config, Some(performance), Some(connection), None))
}

/// Returns whether connections to sentinels are encrypted as those to their master are.
fn is_as_master(tls: &SentinelTls, options: &RedisConnectOptions) -> bool {
    match tls {
        SentinelTls::AsMaster => true,
        SentinelTls::Off => options.tls.is_none(),
        SentinelTls::On(tls) => options.tls.as_ref() == Some(tls),
    }
}

fn server(deployment: &Deployment) -> ServerConfig {
    let servers = |nodes: &[Node]| {
        nodes.iter().map(|node| Server::new(node.host.as_str(), node.port)).collect()
    };
    match deployment {
        Deployment::Single(node) => ServerConfig::new_centralized(node.host.as_str(), node.port),
        Deployment::Unix(path) => ServerConfig::new_unix_socket(path),
        // Asks the nodes that were found later as well as the startup nodes.
        Deployment::Cluster(nodes) => ServerConfig::Clustered {
            hosts: servers(nodes),
            policy: ClusterDiscoveryPolicy::UseCache,
        },
        Deployment::Sentinel { nodes, service, login, .. } => ServerConfig::Sentinel {
            hosts: servers(nodes),
            service_name: service.clone(),
            username: login.user.clone(),
            password: login.password.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentinels_that_are_encrypted_as_their_master_is_have_a_client_however_that_is_said() {
        let is_alike = |scheme: &str, switch: &str| {
            let url = format!("{scheme}-sentinel://h?service=m&sentinel_tls={switch}");
            let options: RedisConnectOptions = url.parse().unwrap();
            let Deployment::Sentinel { tls, .. } = &options.deployment else { panic!("{url}") };
            is_as_master(tls, &options)
        };
        assert!(is_alike("redis", "off") && is_alike("rediss", "on"));
        assert!(!is_alike("redis", "on") && !is_alike("rediss", "off"));
    }
}
