// One validator: how it stands, its pipeline and charts, its links, and what the registry knows of it.

import { useEffect } from "preact/hooks";
import { ALL } from "../state/history";
import { store, useTopics } from "../state/store";
import { count, dateTime, hostOf, latency, short } from "../util/format";
import { to } from "../util/route";
import { selected } from "../util/value";
import { LatencyChart, ThroughputChart } from "../ui/charts";
import { Ago, Badge, Facts, Name, Panel } from "../ui/parts";
import { Pipeline } from "../ui/pipeline";
import { StandingBadge } from "../ui/validators";

export function ValidatorPage({ id }: { id: string }) {
  const state = useTopics("validators", "links", "mesh");
  useEffect(() => {
    selected.set(id);
    return () => selected.set(ALL);
  }, [id]);
  const validator = state.validators.get(id);
  const node = state.nodes.get(id);
  if (!validator && !node) {
    return (
      <main class="page" id="main" tabIndex={-1}>
        <div class="page-head">
          <h1 class="mono">{id}</h1>
        </div>
        <Panel title="Validator">
          <p class="empty" role="status">
            {store.link.kind === "live" ? "The network knows no validator or node of this name." : "Waiting for the network…"}
          </p>
        </Panel>
      </main>
    );
  }
  const peers = [...state.links.values()].filter((link) => link.source === id || link.target === id).map((link) => (link.source === id ? link.target : link.source));
  return (
    <main class="page" id="main" tabIndex={-1}>
      <div class="page-head">
        <h1 class="mono">{id}</h1>
        {validator ? <StandingBadge validator={validator} /> : <Badge tone="grey">{node?.status.toUpperCase()}</Badge>}
        {validator && !validator.healthy && validator.reason && <span class="bad-text">{validator.reason}</span>}
      </div>
      <div class="split">
        <Panel title="Standing" id="standing">
          <Facts
            rows={[
              ["key", <Name text={validator?.publicKey || node?.publicKey || ""} full />],
              ["height", validator && <a href={to.block(validator.currentHeight)}>{count(validator.currentHeight)}</a>],
              ["final height", validator && count(validator.finalizedHeight)],
              ["votes", validator && (validator.voting ? "yes" : "no")],
              ["applied", validator && `${short(validator.appliedTps)} tx/s`],
              ["to final", validator && `p50 ${latency(validator.latency.finalP50)}, p99 ${latency(validator.latency.finalP99)}`],
              ["to applied", validator && `p50 ${latency(validator.latency.appliedP50)}, p99 ${latency(validator.latency.appliedP99)}`],
              ["seen", validator && <Ago ms={validator.lastSeen} />],
            ]}
          />
        </Panel>
        <Panel title="Links and registry" id="links">
          <Facts
            rows={[
              [
                `linked to ${peers.length}`,
                <ul class="inline-list">
                  {peers.sort().map((peer) => (
                    <li key={peer}>
                      <a class="mono" href={to.validator(peer)}>
                        {peer}
                      </a>
                    </li>
                  ))}
                </ul>,
              ],
              ["registry", node && <Badge tone={node.status === "active" ? "green" : "grey"}>{node.status.toUpperCase()}</Badge>],
              ["host", node && hostOf(node)],
              ["services", node?.services.map((service) => `${service.type} ${service.port}`).join(", ")],
              ["registered", node && dateTime(node.registeredAt)],
              ["heartbeat", node && <Ago ms={node.lastHeartbeat} />],
            ]}
          />
        </Panel>
      </div>
      {validator && (
        <>
          <Pipeline />
          <div class="split charts">
            <ThroughputChart />
            <LatencyChart />
          </div>
        </>
      )}
    </main>
  );
}
