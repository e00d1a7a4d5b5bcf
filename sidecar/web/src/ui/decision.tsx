// Approve, deny, add to the validator set, remove from it: what will be signed is said first, then each step is shown as it goes.

import { useRef, useState } from "preact/hooks";
import { reason } from "../api/http";
import { changeSet, decideNode } from "../api/membership";
import { mesh, type ValidatorLink } from "../api/mesh";
import type { Signer } from "../crypto/keyfile";
import type { MeshNode } from "../state/frame";
import { count, hostOf } from "../util/format";
import { to } from "../util/route";
import { useLoaded } from "../util/use";
import { Badge, Dialog, Facts, Icon, Name } from "./parts";

export interface Plan {
  kind: "approve" | "deny" | "join" | "leave";
  node: MeshNode;
  /** Whether the chain's validator set has it, as a ledger says; `null` where that is not known. */
  isMember: boolean | null;
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
  const consensus = node.services.find((service) => service.type === "consensus");
  const row = useLoaded(`node ${node.id}`, (signal) => mesh.node(node.id, signal));
  const inSet = plan.isMember ?? row.data?.chain === "in_set";
  const isKnown = plan.isMember !== null || row.data?.chain !== undefined;
  const [withSet, setWithSet] = useState(consensus !== undefined);
  const [address, setAddress] = useState("");
  const [steps, setSteps] = useState<Step[]>([]);
  const [busy, setBusy] = useState(false);
  // What the registry answered, so that a second try goes on behind it.
  const decided = useRef<{ link: ValidatorLink | undefined } | null>(null);
  const isDecision = kind === "approve" || kind === "deny";
  const changesSet = kind === "join" || kind === "leave" || (kind === "approve" && withSet && !inSet) || (kind === "deny" && withSet && inSet);
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
        if (!decided.current) decided.current = { link: (await decideNode(signer, kind, node.id)).validator };
        own.says = kind === "approve" ? "the node is active" : "the node is denied";
      });
    }
    if (goOn && changesSet) {
      const link = decided.current?.link;
      if (isDecision && link?.chain === (adds ? "in_set" : "not_in_set")) {
        await step(adds ? "Chain: the validator is in the set already" : "Chain: the validator is not in the set", async () => {});
      } else {
        await step(adds ? "Chain: add to the validator set" : "Chain: remove from the validator set", async (own) => {
          const publicKey = link?.publicKey ?? consensus?.publicKey ?? node.publicKey;
          const where = address.trim() || link?.address || guessAddress(node);
          const { submitted, epoch } = await changeSet(signer, adds, publicKey, where);
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
          ["node key", <Name text={node.publicKey} full plain />],
          ["host", hostOf(node)],
          ["services", node.services.map((service) => `${service.type} ${service.port}`).join(", ") || "none"],
          ["validator key", consensus && consensus.publicKey !== node.publicKey && <Name text={consensus.publicKey} full plain />],
          ["on the chain", isKnown && <Badge tone={inSet ? "green" : "grey"}>{inSet ? "IN THE VALIDATOR SET" : "NOT IN THE VALIDATOR SET"}</Badge>],
        ]}
      />
      {consensus && isDecision && (kind === "approve" ? !inSet : inSet) && (
        <label class="check">
          <input type="checkbox" checked={withSet} disabled={busy} onChange={(event) => setWithSet((event.currentTarget as HTMLInputElement).checked)} />
          {kind === "approve" ? "Also add it to the validator set, so that it votes" : "Also remove it from the validator set"}
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
          <button type="button" class={`button ${adds ? "primary" : "danger"}`} disabled={busy} onClick={() => void run()}>
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
