// An account: who it is, what it holds, what it did.

import { ledger, type User } from "../api/ledger";
import { amount, count } from "../util/format";
import { to, withCursor } from "../util/route";
import { useLoaded } from "../util/use";
import { Badge, Empty, Facts, Name, Panel, Stale, Unavailable } from "../ui/parts";
import { Pager, Transactions } from "../ui/transactions";
import { useSlowHeight } from "./blocks";

const ROWS = 20;
/** An account that is looked at is asked for again at most so often. */
const FOLLOW_MS = 2_000;

export function AccountPage({ name, cursor }: { name: string; cursor: string | null }) {
  const height = useSlowHeight(FOLLOW_MS);
  const user = useLoaded(`user ${name}`, (signal) => ledger.user(name, signal), [height]);
  const balances = useLoaded(`balances ${name}`, (signal) => ledger.balances(name, signal), [height]);
  const list = useLoaded(`list ${name} ${cursor}`, (signal) => ledger.userTransactions(name, ROWS, cursor, signal), [cursor === null ? height : 0]);
  return (
    <main class="page" id="main" tabIndex={-1}>
      <div class="page-head">
        <h1>{user.data?.username ?? (user.data ? "Account" : name.startsWith("@") ? name : "Account")}</h1>
        {user.data && <Badge tone={ROLE[user.data.role] ?? "grey"}>{user.data.role}</Badge>}
      </div>
      {!user.data ? (
        <Panel title="Account">
          <Unavailable what="account" error={user.error} retry={user.reload} />
        </Panel>
      ) : (
        <>
          <div class="split">
            <About user={user.data} error={user.error} />
            <Panel title="Balances" id="balances" flush>
              {!balances.data ? (
                <Unavailable what="balances" error={balances.error} retry={balances.reload} />
              ) : balances.data.length === 0 ? (
                <Empty>It holds nothing yet.</Empty>
              ) : (
                <ul class="balances">
                  {balances.data.map((balance) => (
                    <li key={balance.currencyCode}>
                      <span class="muted">{balance.currencyCode}</span>
                      <b>{amount(balance.amount)}</b>
                    </li>
                  ))}
                </ul>
              )}
            </Panel>
          </div>
          <Panel title="Transactions" id="account-transactions" flush aside={<span class="muted">newest first</span>}>
            {list.data ? (
              <>
                <Stale error={list.error} />
                <Transactions entries={list.data.entries} of={user.data.publicKey} />
                <Pager first={to.account(name)} isFirst={cursor === null} next={list.data.next && withCursor(to.account(name), list.data.next)} />
              </>
            ) : (
              <Unavailable what="transactions" error={list.error} retry={list.reload} />
            )}
          </Panel>
        </>
      )}
    </main>
  );
}

const ROLE: Record<string, string> = { sovereign: "amber", staff: "blue", user: "grey" };

function About({ user, error }: { user: User; error: Error | null }) {
  return (
    <Panel title="Account" id="account">
      <Stale error={error} />
      <Facts
        rows={[
          ["key", <Name text={user.publicKey} full />],
          ["name", user.displayName],
          ["about", user.bio],
          ["last nonce", count(user.nonce)],
          ["number", count(user.index)],
          ["created in", user.createdHeight === 0 ? "the genesis" : <a href={to.block(user.createdHeight)}>block {count(user.createdHeight)}</a>],
        ]}
      />
    </Panel>
  );
}
