// Approve, deny, add to the validator set, remove from it: what will be signed is said first, then each step is shown as it goes.

import { useRef, useState } from "preact/hooks";
import { reason } from "../api/http";
import { ledger } from "../api/ledger";
import { changeSet, decideNode, membershipOf } from "../api/membership";
import { mesh } from "../api/mesh";
import type { Signer } from "../crypto/keyfile";
import type { MeshNode } from "../state/frame";
import { count, hostOf } from "../util/format";
import { to } from "../util/route";
import { useLoaded } from "../util/use";
import { Badge, Dialog, Facts, Icon, Name } from "./parts";

export interface Plan {
  kind: "approve" | "deny" | "join" | "leave";
  node: MeshNode;
}

type StepState = "waits" | "runs" | "done" | "failed";

interface Step {
  name: string;
  state: StepState;
  says: string;
  link?: string;
}

const TITLE: Record<Plan["kind"], string> = {
  approve: "Approve",
  deny: "Deny",
  join: "Add to the validator set:",
  leave: "Remove from the validator set:",
};
const PORT_OF_LINKS = 9000;

export function DecisionDialog({ plan, signer, onClose }: { plan: Plan; signer: Signer; onClose: () => void }) {
  const { kind, node } = plan;
  const row = useLoaded(`node ${node.id}`, (signal) => mesh.node(node.id, signal));
  const set = useLoaded("decided validators", (signal) => ledger.decidedValidators(signal));
  const shown = row.data?.validator;
  const ownKey = row.data?.node.public_key ?? node.publicKey;
  const { link, isUnproven } = row.data ? membershipOf(kind, row.data.node, shown) : { link: null, isUnproven: false };
  const inSet = set.data ? set.data.validators.some((validator) => validator.publicKey === shown?.publicKey) : shown?.chain === "in_set";
  const isKnown = shown !== undefined && (set.data !== null || shown.chain !== undefined);
  const [withSet, setWithSet] = useState(true);
  const [isCompared, setCompared] = useState(false);
  const [address, setAddress] = useState("");
  const [steps, setSteps] = useState<Step[]>([]);
  const [busy, setBusy] = useState(false);
  // That the registry has the decision, and whether the set is so already, so that a second try goes on behind it.
  const decided = useRef<{ isSo: boolean } | null>(null);
  const isDecision = kind === "approve" || kind === "deny";
  const changesSet = link !== null && (!isDecision || (withSet && (kind === "approve" ? !inSet : inSet)));
  const mayRun = row.data !== null && (isDecision || link !== null) && !(changesSet && isUnproven && !isCompared);
  const adds = kind === "approve" || kind === "join";
  const verb = { approve: "Approve", deny: node.status === "pending" ? "Deny" : "Revoke", join: "Add", leave: "Remove" }[kind];

  const run = async () => {
    setBusy(true);
    const list: Step[] = [];
    const show = () => setSteps(list.map((step) => ({ ...step })));
    const step = async (name: string, work: (own: Step) => Promise<void>): Promise<boolean> => {
      const own: Step = { name, state: "runs", says: "" };
      list.push(own);
      show();
      try {
        await work(own);
        own.state = "done";
      } catch (error) {
        own.state = "failed";
        own.says = reason(error);
      }
      show();
      return own.state === "done";
    };
    let goOn = true;
    if (isDecision) {
      goOn = await step(kind === "approve" ? "Registry: approve" : "Registry: deny", async (own) => {
        if (!decided.current) decided.current = { isSo: await decideNode(signer, kind, node.id, shown) };
        own.says = kind === "approve" ? "the node is active" : "the node is denied";
      });
    }
    if (goOn && changesSet) {
      if (decided.current?.isSo) {
        await step(adds ? "Chain: the validator is in the set already" : "Chain: the validator is not in the set", async () => {});
      } else {
        await step(adds ? "Chain: add to the validator set" : "Chain: remove from the validator set", async (own) => {
          const where = address.trim() || link.address || guessAddress(node);
          const { submitted, epoch } = await changeSet(signer, adds, link.publicKey, where);
          own.link = submitted.id;
          own.says =
            submitted.status === "applied"
              ? `applied in block ${count(submitted.blockHeight ?? 0)}; in force from epoch ${count(epoch)}`
              : `${submitted.status}: ${submitted.message}`;
        });
      }
    }
    setBusy(false);
  };

  const finished = steps.length > 0 && !busy && steps.every((step) => step.state === "done");
  const failed = steps.some((step) => step.state === "failed");
  return (
    <Dialog title={`${TITLE[kind]} ${node.id}`} onClose={onClose}>
      <Facts
        rows={[
          ["node key", <Name text={ownKey} full plain />],
          ["host", hostOf(node)],
          ["services", node.services.map((service) => `${service.type} ${service.port}`).join(", ") || "none"],
          ["validator key", shown && (shown.publicKey === ownKey ? "the node's own" : <Name text={shown.publicKey} full plain />)],
          ["links", shown?.address],
          ["on the chain", isKnown && <Badge tone={inSet ? "green" : "grey"}>{inSet ? "IN THE VALIDATOR SET" : "NOT IN THE VALIDATOR SET"}</Badge>],
        ]}
      />
      {row.error && <p class="bad-text">The registry does not say who this node is: {reason(row.error)}</p>}
      {link && isDecision && (kind === "approve" ? !inSet : inSet) && (
        <label class="check">
          <input type="checkbox" checked={withSet} disabled={busy} onChange={(event) => setWithSet((event.currentTarget as HTMLInputElement).checked)} />
          {kind === "approve" ? "Also add it to the validator set, so that it votes" : "Also remove it from the validator set"}
        </label>
      )}
      {changesSet && isUnproven && (
        <label class="check">
          <input type="checkbox" checked={isCompared} disabled={busy} onChange={(event) => setCompared((event.currentTarget as HTMLInputElement).checked)} />
          The validator has another key than the node, and nothing proves that it is the node's. I have compared it with the one that the operator names
        </label>
      )}
      {changesSet && adds && (
        <label class="field">
          <span>Address of its links</span>
          <input
            type="text"
            value={address}
            disabled={busy}
            maxLength={128}
            spellcheck={false}
            placeholder={`as registered, or ${guessAddress(node)}`}
            onInput={(event) => setAddress((event.currentTarget as HTMLInputElement).value)}
          />
        </label>
      )}
      {steps.length > 0 && (
        <ol class="steps-list" aria-live="polite">
          {steps.map((step) => (
            <li key={step.name} class={step.state}>
              <Icon name={step.state === "done" ? "check" : step.state === "failed" ? "cross" : "clock"} size={15} />
              <span>
                {step.name}
                {step.says && <span class="muted">: {step.says}</span>}{" "}
                {step.link && (
                  <a href={to.transaction(step.link)} onClick={onClose}>
                    see it
                  </a>
                )}
              </span>
            </li>
          ))}
        </ol>
      )}
      <div class="dialog-actions">
        <button type="button" class="button" onClick={onClose}>
          {finished ? "Close" : "Cancel"}
        </button>
        {!finished && (
          <button type="button" class={`button ${adds ? "primary" : "danger"}`} disabled={busy || !mayRun} onClick={() => void run()}>
            {busy ? "Signing and sending…" : failed ? "Try again" : `${verb}, signed as ${signer.username || "this key"}`}
          </button>
        )}
      </div>
    </Dialog>
  );
}

/** Where the links of a node are when the registry does not say: its address, on the port of its consensus service. */
export function guessAddress(node: MeshNode): string {
  const consensus = node.services.find((service) => service.type === "consensus");
  const host = node.tailscaleIP || node.tailscaleHostname.replace(/^\w+:\/\//, "").replace(/:\d+$/, "");
  const port = consensus?.port ?? PORT_OF_LINKS;
  return host.includes(":") && !host.startsWith("[") ? `[${host}]:${port}` : `${host}:${port}`;
}
