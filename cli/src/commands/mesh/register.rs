//! `tana mesh register`: the validator of this home asks to be let in.

use tana_engine::config::NodeConfig;
use tana_engine::keyfile::load_key_file;
use tana_mesh::wire::{RegisterAnswer, RegisterRequest, Service};

use super::arguments::{RegisterArguments, RoleChoice};
use super::client::Mesh;
use super::list::check_id;
use crate::commands::start::layout::node_id;
use crate::error::CliError;
use crate::home::Home;
use crate::keys;
use crate::node::runtime;
use crate::output::Output;
use crate::time::now_ms;

/// Runs `tana mesh register` without `--dev`.
///
/// # Errors
/// [`CliError`] when the home has no validator, or the mesh refuses.
pub fn run(arguments: &RegisterArguments, home: &Home, output: &Output) -> Result<(), CliError> {
    let mesh = Mesh::new(&arguments.mesh.meshes, home)?;
    let config = NodeConfig::load(&home.node_config())?;
    let key = load_key_file(&config.key)?;
    let public_key = keys::public_key(&key);
    let id = arguments.node_id.clone().unwrap_or_else(|| node_id(&public_key));
    check_id(&id)?;
    let host = match &arguments.host {
        Some(host) => host.clone(),
        None => host_name()?,
    };
    let services = match arguments.role {
        RoleChoice::Validator => vec![Service {
            kind: "consensus".to_owned(),
            port: config.consensus.listen.port(),
            public_key: public_key.to_string(),
        }],
        RoleChoice::Observer => Vec::new(),
    };
    let request = RegisterRequest {
        node_id: id,
        public_key: public_key.to_string(),
        tailscale_hostname: host,
        tailscale_ip: arguments.ip.map(|ip| ip.to_string()),
        services,
        signature: String::new(),
        timestamp: None,
    };
    let answer: RegisterAnswer = runtime()?.block_on(mesh.post(&["register"], &request.sign(&key, now_ms())))?;
    output.result(&answer, |output| {
        output.line(format!("{} is {} in the mesh", answer.node_id, answer.status.name()));
        output.note(format!("next, the sovereign: tana mesh approve {}", answer.node_id));
    });
    Ok(())
}

/// The name of this machine.
fn host_name() -> Result<String, CliError> {
    let name = rustix::system::uname();
    match name.nodename().to_str() {
        Ok(name) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err(CliError::Usage("this machine's name cannot be told; give --host".to_owned())),
    }
}
