// A table of transactions, of a block or of an account.

import type { Transaction } from "../api/ledger";
import { count, dateTime, words } from "../util/format";
import { to } from "../util/route";
import { Ago, Amount, Badge, Empty, Name, Table, Who } from "./parts";

/** Applied, failed, or passed over. */
export function CodeBadge({ code }: { code: string }) {
  return <Badge tone={code === "applied" ? "green" : SKIPPED.has(code) ? "grey" : "red"}>{words(code)}</Badge>;
}

const SKIPPED = new Set(["duplicate", "nonce_gap", "unknown_sender", "accounts_per_block"]);

export function Transactions({ entries, of }: { entries: Transaction[]; of?: string }) {
  if (entries.length === 0) return <Empty>No transactions.</Empty>;
  const inBlock = of === undefined;
  return (
    <Table label="Transactions" class={inBlock ? "of-block" : "of-account"} head={[inBlock ? "#" : "Block", "Transaction", "Type", inBlock ? "From" : "With", inBlock ? "To" : "", "Amount", "Result", inBlock ? "" : "When"]}>
      {entries.map((transaction) => (
        <tr key={`${transaction.blockHeight}-${transaction.index}`}>
          <td class="number">{inBlock ? count(transaction.index) : <a href={to.block(transaction.blockHeight)}>{count(transaction.blockHeight)}</a>}</td>
          <td>
            <Name text={transaction.id} href={to.transaction(transaction.id)} plain head={8} tail={4} />
          </td>
          <td class="nowrap">{words(transaction.type)}</td>
          {inBlock ? (
            <>
              <td>
                <Who publicKey={transaction.from} />
              </td>
              <td>{transaction.to && <Who publicKey={transaction.to} />}</td>
            </>
          ) : (
            <>
              <td>
                <Other transaction={transaction} of={of} />
              </td>
              <td class="muted">{transaction.to === undefined ? "" : transaction.from === of ? "out" : "in"}</td>
            </>
          )}
          <td class="number">
            {transaction.amount !== undefined && (
              <Amount text={transaction.amount} currency={transaction.currencyCode} minorUnits={transaction.minorUnits ?? false} />
            )}
          </td>
          <td>
            <CodeBadge code={transaction.code} />
          </td>
          <td class="muted nowrap" title={dateTime(transaction.blockTimestamp)}>
            {!inBlock && <Ago ms={transaction.blockTimestamp} />}
          </td>
        </tr>
      ))}
    </Table>
  );
}

function Other({ transaction, of }: { transaction: Transaction; of: string }) {
  const other = transaction.from === of ? transaction.to : transaction.from;
  return other ? <Who publicKey={other} /> : null;
}

/** Links to the first and the next page. */
export function Pager({ first, next, isFirst }: { first: string; next: string | null; isFirst: boolean }) {
  if (isFirst && !next) return null;
  return (
    <nav class="pager" aria-label="Pages of this list">
      {!isFirst && (
        <a class="button" href={first}>
          First page
        </a>
      )}
      {next && (
        <a class="button" href={next}>
          Next page
        </a>
      )}
    </nav>
  );
}
