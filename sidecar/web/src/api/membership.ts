// What a sovereign does about a node, step by step: the registry's decision, and the change of the validator set that goes with it. The page shows
// each step as it goes; one that fails leaves those before it done, and can be tried again.

import type { Signer } from "../crypto/keyfile";
import { decide, type Decision } from "../crypto/text";
import { signTransaction, validatorSetChange } from "../crypto/transaction";
import { ApiError } from "./http";
import { ledger, type Submitted } from "./ledger";
import { mesh, type NodeRow, type ValidatorLink } from "./mesh";

/** A change is in force two epochs after the one in which it is executed, at the earliest. */
const EPOCHS_AHEAD = 2;
/** How often the transaction is made again when an epoch ended between asking and executing. */
const TRIES = 3;
/** How such a transaction ends. */
const EPOCH_PAST = "epoch_past";
/** How the registry answers to a decision that it has already. */
const NOT_PENDING = "not_pending";

/** What may follow for the validator set, judged by what the registry says of a node. */
export interface Membership {
  /** The validator that may enter or leave; none where the set stays as it is whatever is decided. */
  link: ValidatorLink | null;
  /** Whether its key is another than the node's own. Anybody may register with an honest validator's key, so a person must have compared it. */
  isUnproven: boolean;
}

export function membershipOf(kind: string, node: Pick<NodeRow, "public_key" | "approved_at">, link: ValidatorLink | undefined): Membership {
  // Who was never let in has nothing to be put out of.
  if (!link || (kind === "deny" && node.approved_at === null)) return { link: null, isUnproven: false };
  return { link, isUnproven: link.publicKey !== node.public_key };
}

/** What `decideNode` asks; tests put their own in. */
export type MeshForDecision = Pick<typeof mesh, "decide" | "node">;

/**
 * Signs a decision and sends it. That the registry has it already is as good, so that what failed behind it can be done again. A validator that the
 * registry names now and that is not the one that was shown is refused. Returns whether the chain's set is so already, as far as the registry knows.
 */
export async function decideNode(
  signer: Signer,
  decision: Decision,
  nodeId: string,
  shown: ValidatorLink | undefined,
  to: MeshForDecision = mesh,
): Promise<boolean> {
  let said: ValidatorLink | undefined;
  try {
    said = (await to.decide(decision, nodeId, await decide(signer, decision, nodeId))).validator;
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== NOT_PENDING) throw error;
    const now = await to.node(nodeId);
    const isDecided = decision === "approve" ? ["active", "offline"].includes(now.node.status) : now.node.status === "denied";
    if (!isDecided) throw error;
    said = now.validator;
  }
  if (said && (said.publicKey !== shown?.publicKey || said.address !== shown.address)) {
    throw new Error("the registry names another validator for this node now; nothing was sent to the chain. Close this and look again");
  }
  return said?.chain === (decision === "approve" ? "in_set" : "not_in_set");
}

export interface SetChange {
  submitted: Submitted;
  /** When the change holds. */
  epoch: number;
}

/** What `changeSet` asks and tells; tests put their own in. */
export type LedgerForChange = Pick<typeof ledger, "about" | "validators" | "user" | "submit">;

/** Makes, signs and sends a change of the validator set. The private key is used in this page; only the signed bytes leave it. */
export async function changeSet(signer: Signer, add: boolean, publicKey: string, address: string, to: LedgerForChange = ledger): Promise<SetChange> {
  for (let tried = 1; ; tried++) {
    const [about, set, account] = await Promise.all([to.about(), to.validators(), to.user(signer.printed)]);
    if (account.role !== "sovereign") throw new Error(`${account.username ?? "this key"} is not the sovereign of ${about.chain}; only the sovereign changes the validator set`);
    const epoch = set.currentEpoch + EPOCHS_AHEAD + tried - 1;
    const payload = validatorSetChange(add, publicKey, epoch, add ? address : "");
    const transaction = await signTransaction(signer, about.genesisHash, account.nonce + 1, Date.now(), payload);
    try {
      return { submitted: await to.submit(transaction.bytes), epoch };
    } catch (error) {
      if (tried === TRIES || !(error instanceof ApiError) || error.code !== EPOCH_PAST) throw error;
    }
  }
}
