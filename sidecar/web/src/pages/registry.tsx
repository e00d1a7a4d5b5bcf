// The registry: who asked to join, and what the sovereign said. Decisions are signed here, with a key file that never leaves the page.

import { useState } from "preact/hooks";
import type { MeshNode } from "../state/frame";
import { ledger } from "../api/ledger";
import { useTopics } from "../state/store";
import { count, hostOf, middle } from "../util/format";
import { to } from "../util/route";
import { useLoaded, useNow } from "../util/use";
import { signer, useValue } from "../util/value";
import { DecisionDialog, type Plan } from "../ui/decision";
import { KeyPanel } from "../ui/key";
import { Ago, Badge, Empty, Icon, Name, Panel } from "../ui/parts";

const STATUSES = ["pending", "active", "offline", "denied"] as const;
const TONE: Record<string, string> = { pending: "grey", active: "green", offline: "red hollow", denied: "red" };
const ROWS = 40;
/** How often the chain is asked who is in its validator set. */
const SET_MS = 5_000;

export function Registry() {
  const state = useTopics("mesh");
  const key = useValue(signer);
  const [filter, setFilter] = useState<string>("all");
  const [from, setFrom] = useState(0);
  const [plan, setPlan] = useState<Plan | null>(null);
  const now = useNow(SET_MS);
  const set = useLoaded("validators", (signal) => ledger.validators(signal), [Math.floor(now / SET_MS)]);
  const members = set.data && new Set(set.data.validators.map((validator) => validator.publicKey));
  const order = (node: MeshNode) => STATUSES.indexOf(node.status as (typeof STATUSES)[number]);
  const nodes = [...state.nodes.values()]
    .filter((node) => filter === "all" || node.status === filter)
    .sort((a, b) => order(a) - order(b) || (a.id < b.id ? -1 : 1));
  const start = from < nodes.length ? from : 0;
  return (
    <main class="page" id="main" tabIndex={-1}>
      <h1 class="visually-hidden">Registry</h1>
      <KeyPanel />
      <Panel
        title="Nodes"
        id="registry"
        flush
        aside={
          <div class="filters" role="group" aria-label="Status">
            {["all", ...STATUSES].map((status) => (
              <button
                key={status}
                type="button"
                class="filter"
                aria-pressed={filter === status}
                onClick={() => {
                  setFilter(status);
                  setFrom(0);
                }}
              >
                {status} <b>{count(status === "all" ? state.nodeCount.total : state.nodeCount[status as (typeof STATUSES)[number]])}</b>
              </button>
            ))}
          </div>
        }
      >
        {nodes.length === 0 && <Empty>{filter === "all" ? "No node has registered." : `No node is ${filter}.`}</Empty>}
        <ul class="rows nodes">
          {nodes.slice(start, start + ROWS).map((node) => (
            <Node key={node.id} node={node} canSign={key !== null} members={members} onPlan={setPlan} />
          ))}
        </ul>
        {nodes.length > ROWS && (
          <nav class="pager" aria-label="Pages of nodes">
            <span class="muted">
              {count(start + 1)} to {count(Math.min(start + ROWS, nodes.length))} of {count(nodes.length)}
            </span>
            <button type="button" class="button" disabled={start === 0} onClick={() => setFrom(Math.max(0, start - ROWS))}>
              Before
            </button>
            <button type="button" class="button" disabled={start + ROWS >= nodes.length} onClick={() => setFrom(start + ROWS)}>
              Next
            </button>
          </nav>
        )}
      </Panel>
      {plan && key && <DecisionDialog plan={plan} signer={key} onClose={() => setPlan(null)} />}
    </main>
  );
}

interface NodeProps {
  node: MeshNode;
  canSign: boolean;
  /** Keys of the chain's validator set; `null` while it is not known. */
  members: Set<string> | null;
  onPlan: (plan: Plan) => void;
}

function Node({ node, canSign, members, onPlan }: NodeProps) {
  const consensus = node.services.find((service) => service.type === "consensus");
  const isValidator = consensus !== undefined;
  const isMember = members && consensus ? members.has(consensus.publicKey) : null;
  const why = canSign ? undefined : "Open the sovereign's key file first";
  const action = (plan: Plan["kind"], words: string, tone: string) => (
    <button type="button" class={`button ${tone}`} disabled={!canSign} title={why} onClick={() => onPlan({ kind: plan, node })}>
      {words}
    </button>
  );
  return (
    <li class="node" data-testid="node-row" data-id={node.id} data-status={node.status}>
      <div class="node-who">
        <Badge tone={TONE[node.status] ?? "grey"}>{node.status.toUpperCase()}</Badge>
        {isValidator ? (
          <a class="mono strong" href={to.validator(node.id)}>
            {node.id}
          </a>
        ) : (
          <span class="mono strong">{node.id}</span>
        )}
        <span class="small muted">
          {hostOf(node)}
          {isMember && " · in the validator set"}
          {isMember === false && node.status === "active" && " · not in the validator set"}
        </span>
      </div>
      <div class="node-services">
        {node.services.length === 0 && <span class="small muted">no services</span>}
        {node.services.map((service) => (
          <span key={service.type} class="service" title={`key ${middle(service.publicKey, 20, 6)}`}>
            <i class={`dot ${service.healthy === null ? "" : service.healthy ? "good" : "bad"}`} />
            {service.type} <span class="mono muted">{service.port}</span>
            <span class="visually-hidden">{service.healthy === null ? "nothing said of it" : service.healthy ? "healthy" : "not healthy"}</span>
          </span>
        ))}
      </div>
      <div class="node-times small muted">
        <span>
          <Name text={node.publicKey} head={18} tail={4} />
        </span>
        <span>
          heartbeat <Ago ms={node.lastHeartbeat} /> · registered <Ago ms={node.registeredAt} />
        </span>
      </div>
      <div class="node-actions">
        {node.status === "pending" && (
          <>
            {action("approve", "Approve", "good")}
            {action("deny", "Deny", "bad")}
          </>
        )}
        {node.status === "denied" && action("approve", "Approve", "good")}
        {(node.status === "active" || node.status === "offline") && (
          <>
            {isValidator && isMember !== true && action("join", "Add to set", "")}
            {isValidator && isMember !== false && action("leave", "Remove from set", "")}
            {action("deny", "Revoke", "bad")}
          </>
        )}
        {!canSign && node.status === "pending" && (
          <span class="small muted hint">
            <Icon name="key" size={12} /> needs the sovereign's key
          </span>
        )}
      </div>
    </li>
  );
}
