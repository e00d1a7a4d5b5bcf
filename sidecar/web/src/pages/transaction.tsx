// One transaction. One that waits for a block is asked for again until it has one.

import { useEffect } from "preact/hooks";
import { ApiError } from "../api/http";
import { ledger, type Transaction } from "../api/ledger";
import { store } from "../state/store";
import { count, dateTime, words } from "../util/format";
import { to } from "../util/route";
import { useLoaded } from "../util/use";
import { Ago, Amount, Facts, Name, Panel, Unavailable, Who } from "../ui/parts";
import { CodeBadge } from "../ui/transactions";

const ASK_AGAIN_MS = 1_000;

export function TransactionPage({ id }: { id: string }) {
  const loaded = useLoaded(`transaction ${id}`, (signal) => ledger.transaction(id, signal));
  const isMissing = loaded.error instanceof ApiError && loaded.error.status === 404;
  const waits = isMissing && store.state.pending.some((pending) => pending.id === id);
  useEffect(() => {
    if (!isMissing) return;
    const timer = setTimeout(loaded.reload, ASK_AGAIN_MS);
    return () => clearTimeout(timer);
  }, [isMissing, loaded.loading]);
  const transaction = loaded.data;
  return (
    <main class="page" id="main" tabIndex={-1}>
      <div class="page-head">
        <h1>{transaction ? capital(words(transaction.type)) : "Transaction"}</h1>
        {transaction && <CodeBadge code={transaction.code} />}
      </div>
      <Panel title="Transaction" id="transaction">
        {transaction ? (
          <Details transaction={transaction} />
        ) : waits ? (
          <p class="empty" role="status">
            <Name text={id} /> waits for a block…
          </p>
        ) : (
          <Unavailable what="transaction" error={loaded.error} retry={loaded.reload} />
        )}
      </Panel>
    </main>
  );
}

function Details({ transaction }: { transaction: Transaction }) {
  const more = Object.entries(transaction.metadata ?? {});
  return (
    <Facts
      rows={[
        ["id", <Name text={transaction.id} full />],
        ["type", words(transaction.type)],
        ["from", <Who publicKey={transaction.from} full />],
        ["to", transaction.to && <Who publicKey={transaction.to} full />],
        [
          "amount",
          transaction.amount !== undefined && <Amount text={transaction.amount} currency={transaction.currencyCode} minorUnits={transaction.minorUnits ?? false} />,
        ],
        ...more.map(([name, value]): [string, string] => [words(name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)), typeof value === "string" ? value : JSON.stringify(value)]),
        ["block", <a href={to.block(transaction.blockHeight)}>{count(transaction.blockHeight)}, place {count(transaction.index)}</a>],
        ["result", <CodeBadge code={transaction.code} />],
        ["block time", <span>{dateTime(transaction.blockTimestamp)} <span class="muted">(<Ago ms={transaction.blockTimestamp} />)</span></span>],
        ["made", dateTime(transaction.timestamp)],
        ["nonce", count(transaction.nonce)],
        ["signature", <Name text={transaction.signature} full />],
      ]}
    />
  );
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
