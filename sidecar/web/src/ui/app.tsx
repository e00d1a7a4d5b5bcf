// The page as a whole: the header, one of the pages, and what lies over them.

import { useEffect, useRef } from "preact/hooks";
import { AccountPage } from "../pages/account";
import { BlockPage } from "../pages/block";
import { Blocks } from "../pages/blocks";
import { Chaos } from "../pages/chaos";
import { Overview } from "../pages/overview";
import { PendingPage } from "../pages/pending";
import { Registry } from "../pages/registry";
import { SearchPage } from "../pages/search";
import { TransactionPage } from "../pages/transaction";
import { ValidatorPage } from "../pages/validator";
import { to, useRoute, type Route } from "../util/route";
import { helpOpen, useValue } from "../util/value";
import { Boundary } from "./boundary";
import { Header } from "./header";
import { Empty, Panel, useIsLive } from "./parts";
import { Shortcuts, useShortcuts } from "./shortcuts";

export function App() {
  const route = useRoute();
  const help = useValue(helpOpen);
  const live = useIsLive();
  useShortcuts();
  useTitleAndFocus(route);
  return (
    <div class={live ? "app" : "app not-live"}>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          // The fragment is the page's name here, so the focus goes by hand.
          event.preventDefault();
          document.getElementById("main")?.focus();
        }}
      >
        To the content
      </a>
      <Header route={route} />
      <Boundary key={JSON.stringify(route)}>
        <Page route={route} />
      </Boundary>
      {help && <Shortcuts />}
    </div>
  );
}

function Page({ route }: { route: Route }) {
  switch (route.page) {
    case "overview":
      return <Overview />;
    case "blocks":
      return <Blocks cursor={route.cursor} />;
    case "block":
      return <BlockPage height={route.height} cursor={route.cursor} />;
    case "transaction":
      return <TransactionPage id={route.id} />;
    case "account":
      return <AccountPage name={route.name} cursor={route.cursor} />;
    case "pending":
      return <PendingPage />;
    case "registry":
      return <Registry />;
    case "validator":
      return <ValidatorPage id={route.id} />;
    case "chaos":
      return <Chaos />;
    case "search":
      return <SearchPage text={route.text} />;
    case "unknown":
      return (
        <main class="page" id="main" tabIndex={-1}>
          <Panel title="No such page">
            <Empty>
              This address leads nowhere. <a href={to.overview}>To the overview</a>
            </Empty>
          </Panel>
        </main>
      );
  }
}

const TITLE: Record<Route["page"], string> = {
  overview: "Network",
  blocks: "Blocks",
  block: "Block",
  transaction: "Transaction",
  account: "Account",
  pending: "Pending",
  registry: "Registry",
  validator: "Validator",
  chaos: "Chaos",
  search: "Search",
  unknown: "No such page",
};

/** A change of page moves the focus to its beginning, so that who reads with ears or keys is there too; the first page does not. */
function useTitleAndFocus(route: Route): void {
  const first = useRef(true);
  const key = JSON.stringify(route);
  useEffect(() => {
    document.title = `${TITLE[route.page]}${route.page === "block" ? ` ${route.height}` : ""} · Tana`;
    if (!first.current) {
      scrollTo(0, 0);
      document.getElementById("main")?.focus({ preventScroll: true });
    }
    first.current = false;
  }, [key]);
}
