// What waits: transactions for a block, and deposits and withdrawals for the sovereign.

import { ledger } from "../api/ledger";
import { count } from "../util/format";
import { to } from "../util/route";
import { useLoaded } from "../util/use";
import { Amount, Empty, Name, Panel, Stale, Table, Unavailable, Who } from "../ui/parts";
import { PendingPanel } from "../ui/pending";
import { useSlowHeight } from "./blocks";

const ROWS = 100;
const FOLLOW_MS = 2_000;

export function PendingPage() {
  const height = useSlowHeight(FOLLOW_MS);
  const loaded = useLoaded("requests", (signal) => ledger.requests(ROWS, null, signal), [height]);
  const requests = loaded.data?.entries;
  return (
    <main class="page two" id="main" tabIndex={-1}>
      <h1 class="visually-hidden">Pending</h1>
      <PendingPanel />
      <Panel title="Waiting for the sovereign" id="requests" flush aside={requests && <span class="muted">{loaded.data?.next ? `the first ${count(requests.length)}` : count(requests.length)}</span>}>
        {!requests ? (
          <Unavailable what="requests" error={loaded.error} retry={loaded.reload} />
        ) : requests.length === 0 ? (
          <Empty>No deposit or withdrawal waits.</Empty>
        ) : (
          <>
            <Stale error={loaded.error} />
            <Table label="Deposits and withdrawals that wait" head={["Kind", "Account", "Amount", "Asked in", "Request"]}>
              {requests.map((request) => (
                <tr key={request.id}>
                  <td>{request.type}</td>
                  <td>
                    <Who publicKey={request.from} />
                  </td>
                  <td class="number">
                    <Amount text={request.amount} currency={request.currencyCode} />
                  </td>
                  <td class="number">
                    <a href={to.block(request.blockHeight)}>{count(request.blockHeight)}</a>
                  </td>
                  <td>
                    <Name text={request.id} href={to.transaction(request.id)} plain head={8} tail={4} />
                  </td>
                </tr>
              ))}
            </Table>
          </>
        )}
      </Panel>
    </main>
  );
}
