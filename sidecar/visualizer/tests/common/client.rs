//! A client as docs/visualizer.md describes it, written against the JSON alone: it knows none of the server's types.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// What a client holds.
#[derive(Debug, Default)]
pub struct ClientModel {
    /// The `data` of the last snapshot, changed by every delta since.
    pub state: Value,
    /// Snapshots and deltas that were taken in.
    pub snapshots: u64,
    /// Deltas that were taken in.
    pub deltas: u64,
    /// Proposals and votes that were seen, as (type, source, target).
    pub moments: Vec<(String, String, String)>,
}

fn by_key(list: &Value, key: impl Fn(&Value) -> String) -> BTreeMap<String, Value> {
    list.as_array().expect("a list").iter().map(|one| (key(one), one.clone())).collect()
}

fn id(one: &Value) -> String {
    one["id"].as_str().expect("an id").to_owned()
}

fn pair(one: &Value) -> String {
    format!("{} {}", one["source"].as_str().expect("a source"), one["target"].as_str().expect("a target"))
}

fn list(map: BTreeMap<String, Value>) -> Value {
    Value::Array(map.into_values().collect())
}

fn entries(delta: &Value, field: &str) -> Vec<Value> {
    delta.get(field).map_or_else(Vec::new, |list| list.as_array().expect("a list").clone())
}

impl ClientModel {
    /// Takes a message in. An error is a gap, or something that is no frame.
    pub fn take(&mut self, message: &str) -> Result<(), String> {
        let message: Value = serde_json::from_str(message).map_err(|error| error.to_string())?;
        if message["type"] != "network_update" {
            return Err(format!("no network_update: {message}"));
        }
        let data = &message["data"];
        match data["kind"].as_str() {
            Some("snapshot") => {
                self.snapshots += 1;
                self.state = data.clone();
                Ok(())
            }
            Some("delta") => self.delta(data),
            _ => Err(format!("an unknown kind: {data}")),
        }
    }

    fn delta(&mut self, delta: &Value) -> Result<(), String> {
        let (before, now) = (self.sequence(), delta["sequence"].as_u64().ok_or("no sequence")?);
        if now != before + 1 {
            return Err(format!("{now} after {before}"));
        }
        self.deltas += 1;
        let mut validators = by_key(&self.state["validators"], id);
        for patch in entries(delta, "validators") {
            let validator = validators.entry(id(&patch)).or_insert_with(|| Value::Object(Map::new()));
            for (field, value) in patch.as_object().ok_or("no object")? {
                validator[field] = value.clone();
            }
        }
        for gone in entries(delta, "removedValidators") {
            validators.remove(gone.as_str().ok_or("no id")?);
        }
        self.state["validators"] = list(validators);

        let mut edges = by_key(&self.state["edges"], pair);
        for edge in entries(delta, "edges") {
            let text = |field: &str| edge[field].as_str().unwrap_or_default().to_owned();
            if edge["type"] == "peer" {
                edges.insert(pair(&edge), edge);
            } else {
                self.moments.push((text("type"), text("source"), text("target")));
            }
        }
        for gone in entries(delta, "removedEdges") {
            edges.remove(&pair(&gone));
        }
        self.state["edges"] = list(edges);

        if let Some(mesh) = delta.get("mesh") {
            let mut nodes = by_key(&self.state["mesh"]["nodes"], id);
            for node in entries(mesh, "nodes") {
                nodes.insert(id(&node), node);
            }
            for gone in entries(mesh, "removedNodes") {
                nodes.remove(gone.as_str().ok_or("no id")?);
            }
            self.state["mesh"] =
                json!({ "nodes": list(nodes), "nodeCount": mesh["nodeCount"], "lastUpdate": mesh["lastUpdate"] });
        }
        for field in ["pendingTransactions", "pendingCount", "chain", "lastUpdate", "sequence"] {
            if let Some(value) = delta.get(field) {
                self.state[field] = value.clone();
            }
        }
        let events = self.state["events"].as_array_mut().ok_or("no events")?;
        events.extend(entries(delta, "events"));
        let routine = |event: &Value| matches!(event["event"].as_str(), Some("block" | "leader" | "follower"));
        while events.len() > 100 {
            let many = events.iter().filter(|event| routine(event)).count() > 50;
            let oldest = events.iter().position(routine).filter(|_| many).unwrap_or(0);
            events.remove(oldest);
        }
        Ok(())
    }

    /// The sequence number that it holds.
    pub fn sequence(&self) -> u64 {
        self.state["sequence"].as_u64().unwrap_or(0)
    }
}
