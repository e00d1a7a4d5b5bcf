// What a sovereign does about a node, step by step: the registry's decision, and the change of the validator set that goes with it. The page shows
// each step as it goes; one that fails leaves those before it done, and can be tried again.

import type { Signer } from "../crypto/keyfile";
import { decide, type Decision } from "../crypto/text";
import { signTransaction, validatorSetChange } from "../crypto/transaction";
import { ApiError } from "./http";
import { ledger, type Submitted } from "./ledger";
import { mesh, type DecisionAnswer } from "./mesh";

/** A change is in force two epochs after the one in which it is executed, at the earliest. */
const EPOCHS_AHEAD = 2;
/** How often the transaction is made again when an epoch ended between asking and executing. */
const TRIES = 3;
/** How such a transaction ends. */
const EPOCH_PAST = "epoch_past";

export async function decideNode(signer: Signer, decision: Decision, nodeId: string): Promise<DecisionAnswer> {
  return mesh.decide(decision, nodeId, await decide(signer, decision, nodeId));
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
