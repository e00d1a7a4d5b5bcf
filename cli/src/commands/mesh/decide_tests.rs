//! Which validator a decision is about, and when the person is asked.

use super::*;
use crate::arguments::NodeArguments;
use crate::commands::mesh::arguments::MeshArguments;

fn key(number: u8) -> PublicKey {
    // Any 32 bytes are a key in print.
    PublicKey([number; 32])
}

/// A node with the key 1 whose validator has the key `validator`.
fn node(validator: u8, approved_at: Option<u64>) -> NodeAnswer {
    serde_json::from_value(json!({
        "node": {
            "id": "val_1", "public_key": key(1), "tailscale_hostname": "h", "tailscale_ip": null, "status": "pending", "registered_at": 1,
            "approved_at": approved_at, "approved_by": null, "last_heartbeat": null, "registration_signature": "", "registration_timestamp": 1,
            "services": [],
        },
        "heartbeats": [],
        "validator": { "publicKey": key(validator), "address": "10.0.0.1:9000" },
    }))
    .unwrap()
}

fn arguments() -> DecideArguments {
    DecideArguments {
        id: "val_1".to_owned(),
        key: "sovereign".to_owned(),
        public_key: None,
        validator_key: None,
        yes: false,
        no_chain: false,
        mesh: MeshArguments::default(),
        node: NodeArguments::default(),
    }
}

fn link(decision: Decision, found: &NodeAnswer, arguments: &DecideArguments) -> Result<Option<PublicKey>, String> {
    let link = link_of(decision, found, arguments).map_err(|error| error.to_string())?;
    Ok(link.map(|link| link.public_key.parse().unwrap()))
}

#[test]
fn the_nodes_own_key_is_acted_upon_and_another_only_when_it_is_named() {
    let named = |number| DecideArguments { validator_key: Some(key(number)), ..arguments() };
    for decision in [Decision::Approve, Decision::Deny] {
        let (own, other) = (node(1, Some(1)), node(2, Some(1)));
        assert_eq!(link(decision, &own, &arguments()), Ok(Some(key(1))));
        assert!(link(decision, &other, &arguments()).unwrap_err().contains("--validator-key"));
        assert_eq!(link(decision, &other, &named(2)), Ok(Some(key(2))));
        assert!(link(decision, &other, &named(3)).unwrap_err().contains("not"));
        assert!(link(decision, &own, &named(2)).is_err());
        let alone = DecideArguments { no_chain: true, ..arguments() };
        assert_eq!(link(decision, &other, &alone), Ok(None));
        let none = NodeAnswer { validator: None, ..own };
        assert_eq!(link(decision, &none, &arguments()), Ok(None));
        assert!(link(decision, &none, &named(1)).is_err());
    }
}

#[test]
fn the_denial_of_a_node_that_was_never_approved_leaves_the_set_alone() {
    assert_eq!(link(Decision::Deny, &node(1, None), &arguments()), Ok(None));
    assert_eq!(link(Decision::Deny, &node(2, None), &arguments()), Ok(None));
    assert_eq!(link(Decision::Approve, &node(1, None), &arguments()), Ok(Some(key(1))));
}

#[test]
fn a_mesh_elsewhere_is_not_believed_without_a_word() {
    let home = Home::resolve(Some(std::path::Path::new("/nowhere"))).unwrap();
    let mesh = |url: &str| Mesh::new(&[url.to_owned()], &home).unwrap();
    let (here, there) = (mesh("http://127.0.0.1:8190"), mesh("http://10.0.0.1:8190"));
    // Nobody is asked where a program reads.
    let output = Output::new(true);
    let agreed = |decision, mesh: &Mesh, changes, arguments: &DecideArguments| {
        agree(decision, &node(1, None), changes, arguments, mesh, &output).map_err(|error| error.to_string())
    };
    assert_eq!(agreed(Decision::Approve, &here, true, &arguments()), Ok(()));
    assert!(agreed(Decision::Approve, &there, false, &arguments()).unwrap_err().contains("--public-key"));
    assert!(agreed(Decision::Deny, &there, true, &arguments()).is_err());
    assert_eq!(agreed(Decision::Deny, &there, false, &arguments()), Ok(()));
    assert_eq!(agreed(Decision::Approve, &there, true, &DecideArguments { yes: true, ..arguments() }), Ok(()));
    let with = |number| DecideArguments { public_key: Some(key(number)), yes: true, ..arguments() };
    assert_eq!(agreed(Decision::Approve, &there, true, &with(1)), Ok(()));
    assert!(agreed(Decision::Approve, &here, true, &with(2)).unwrap_err().contains("not the node that you mean"));
}

#[test]
fn an_answer_about_another_validator_is_refused() {
    let shown = node(1, None).validator.unwrap();
    assert!(check_same(&shown, Some(&shown), &arguments()).is_ok());
    let elsewhere = ValidatorLink { address: Some("10.9.9.9:1".to_owned()), ..shown.clone() };
    let other = ValidatorLink { public_key: key(2).to_string(), ..shown.clone() };
    for said in [&elsewhere, &other] {
        assert!(check_same(said, Some(&shown), &arguments()).is_err());
        assert!(check_same(said, None, &arguments()).is_err());
    }
    // That the chain has it by now is no other validator.
    let inside = ValidatorLink { chain: Some(ChainStanding::InSet), ..shown.clone() };
    assert!(check_same(&inside, Some(&shown), &arguments()).is_ok());
}

#[test]
fn only_an_epoch_that_was_too_near_is_tried_again() {
    assert!(is_epoch_past(&CliError::Transaction { code: "epoch_past".to_owned() }));
    assert!(!is_epoch_past(&CliError::Transaction { code: "validator_exists".to_owned() }));
    assert!(!is_epoch_past(&CliError::Node("epoch_past".to_owned())));
}
