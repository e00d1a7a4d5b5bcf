// Looks at the page as a person would, on a running network (or dev/mock.mjs), in headless Chromium. Ends with status 1 and a picture when something
// is not as it should be.
//
//   node e2e/network.mjs http://127.0.0.1:8190 [--validators 5] [--chromium /usr/bin/chromium] [--pictures DIR] [--idle]
//        [--kill] [--approve NODE --key KEYFILE]
//
// `--idle`: no transactions flow, so throughput may be zero. `--kill`: with #chaos=TOKEN in the address, kills a validator, sees it offline within
// a second of the answer, recovers it. `--approve`: approves a pending node with the sovereign's key file and sees the validator-set change applied.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const { values: given, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    validators: { type: "string", default: "5" },
    chromium: { type: "string", default: "/usr/bin/chromium" },
    pictures: { type: "string", default: "test-results" },
    idle: { type: "boolean", default: false },
    kill: { type: "boolean", default: false },
    approve: { type: "string" },
    key: { type: "string" },
  },
});
const address = positionals[0];
if (!address) {
  console.error("usage: node e2e/network.mjs URL [--validators 5] [--kill] [--approve NODE --key KEYFILE]");
  process.exit(2);
}
const expected = Number(given.validators);
const PATIENCE_MS = 20_000;
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

const browser = await chromium.launch({ executablePath: given.chromium, args: FLAGS });
// Playwright gives each launch a profile of its own that is deleted afterwards.
const context = await browser.newContext({ viewport: { width: 1280, height: 720 }, colorScheme: "dark" });
const page = await context.newPage();
page.setDefaultTimeout(PATIENCE_MS);
const broken = [];
page.on("pageerror", (error) => broken.push(`an exception: ${error.message}`));
page.on("console", (message) => {
  if (/Content Security Policy|violates/i.test(message.text())) broken.push(`against the content security policy: ${message.text()}`);
});

let failures = 0;
async function check(name, work) {
  try {
    const says = await work();
    console.log(`ok    ${name}${says ? `: ${says}` : ""}`);
  } catch (error) {
    failures += 1;
    mkdirSync(given.pictures, { recursive: true });
    const picture = join(given.pictures, `${name.replace(/\W+/g, "-")}.png`);
    await page.screenshot({ path: picture }).catch(() => {});
    console.log(`FAIL  ${name}: ${String(error.message ?? error).split("\n")[0]} (${picture})`);
  }
}

function insist(condition, words) {
  if (!condition) throw new Error(words);
}

/** Waits until `read` gives something true, and returns it. */
async function until(read, words, patience = PATIENCE_MS) {
  const end = Date.now() + patience;
  for (;;) {
    const found = await read();
    if (found) return found;
    insist(Date.now() < end, words);
    await page.waitForTimeout(50);
  }
}

const rows = page.getByTestId("validator-row");
const badge = (word) => rows.locator(".badge", { hasText: word });
const number = async (id) => Number((await page.getByTestId(id).locator("b").innerText()).replaceAll(/[^\d.]/g, ""));

await page.goto(address);

await check("the stream is live", () => page.getByTestId("connection").getByText("live").waitFor());
await check(`${expected} validators are shown`, async () => {
  await until(async () => (await rows.count()) === expected, `${await rows.count()} rows instead of ${expected}`);
  return (await rows.evaluateAll((all) => all.map((row) => row.dataset.id))).join(" ");
});
await check("all of them are healthy", async () => {
  await until(async () => (await page.locator('[data-testid="validator-row"][data-standing="healthy"], [data-testid="validator-row"][data-standing="leader"]').count()) === expected, "not all are");
});
await check("exactly one has the leader's badge", async () => {
  // Read in one go: leaders change many times a second.
  const count = () => rows.evaluateAll((all) => all.filter((row) => row.querySelector(".badge")?.textContent === "LEADER").length);
  await until(async () => (await count()) === 1, "none has");
  for (let look = 0; look < 20; look++) {
    insist((await count()) <= 1, "two have at once");
    await page.waitForTimeout(50);
  }
});
await check("the height grows", async () => {
  const before = await number("chip-height");
  const after = await until(async () => ((await number("chip-height")) > before ? await number("chip-height") : 0), `it stays at ${before}`);
  return `${before} to ${after}`;
});
for (const chart of ["throughput", "latency"]) {
  await check(`the ${chart} chart moves`, async () => {
    const canvas = page.getByTestId(chart).locator("canvas");
    await canvas.waitFor();
    const picture = () => canvas.evaluate((element) => element.toDataURL());
    const before = await picture();
    await until(async () => (await picture()) !== before, "it stays the same");
  });
}
if (!given.idle) {
  await check("transactions flow", async () => {
    await until(async () => (await number("chip-tps")) > 0, "0 tx/s");
    return `${await page.getByTestId("chip-tps").innerText()}`.replaceAll("\n", " ");
  });
}
await check("the graph draws messages on their way", async () => {
  const canvas = page.getByTestId("graph").locator("canvas");
  const pictures = new Set();
  await until(async () => pictures.add(await canvas.evaluate((element) => element.toDataURL())).size >= 4, "it stays the same");
});
await check("the pipeline shows its stages", async () => {
  await until(async () => (await page.getByTestId("pipeline").locator(".stage").count()) >= 5, "fewer than five stages");
  return (await page.getByTestId("pipeline").locator(".stage-name").allInnerTexts()).join(" ");
});
await check("events are logged", () => page.getByTestId("events").locator(".event").first().waitFor());

await check("a block's page opens", async () => {
  await page.getByRole("link", { name: "Blocks", exact: true }).click();
  const first = page.getByTestId("block-row").first();
  await first.waitFor();
  // The list follows the chain, so the link is read once and then opened.
  const href = await first.locator("a").first().getAttribute("href");
  await page.evaluate((hash) => { location.hash = hash; }, href);
  await page.getByTestId("block-header").getByText("state root after it").waitFor();
  return await page.locator("h1").innerText();
});
await check("search finds a height", async () => {
  await page.keyboard.press("/");
  await page.keyboard.type("1");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Block 1", exact: true }).waitFor();
});
await check("the registry lists the nodes", async () => {
  await page.getByRole("link", { name: /^Registry/ }).click();
  await until(async () => (await page.locator('[data-testid="node-row"][data-status="active"]').count()) >= expected, `fewer than ${expected} active nodes`);
});

if (given.approve && given.key) {
  await check(`${given.approve} is approved and joins the set`, async () => {
    await page.locator("#key-file").setInputFiles(given.key);
    await page.getByText("SOVEREIGN", { exact: true }).waitFor();
    await page.locator(`[data-testid="node-row"][data-id="${given.approve}"]`).getByRole("button", { name: "Approve" }).click();
    await page.getByRole("button", { name: /^Approve, signed as/ }).click();
    const steps = page.locator(".steps-list li");
    await until(async () => (await steps.count()) === 2 && (await page.locator(".steps-list li.runs").count()) === 0, "the steps did not end", 40_000);
    insist((await page.locator(".steps-list li.failed").count()) === 0, (await steps.allInnerTexts()).join("; "));
    const says = (await steps.allInnerTexts()).join("; ");
    await page.getByRole("button", { name: "Close", exact: true }).last().click();
    await page.locator(`[data-testid="node-row"][data-id="${given.approve}"][data-status="active"]`).waitFor();
    return says;
  });
}

if (given.kill) {
  await check("a killed validator is offline within a second, and comes back", async () => {
    await page.getByRole("link", { name: "Chaos", exact: true }).click();
    const target = page.locator(".target").last();
    const id = (await target.innerText()).trim();
    await target.locator("input").check();
    await page.getByRole("button", { name: "Kill" }).click();
    await page.getByTestId("chaos-log").locator(".done").first().waitFor();
    const answered = Date.now();
    // On the same page, so that the moment is not that of a page change.
    await until(async () => (await page.locator(".target", { hasText: id }).locator(".dot.red").count()) === 1, "it is not shown as down", 1_000);
    const took = Date.now() - answered;
    await page.getByRole("button", { name: "Recover" }).click();
    await until(async () => (await page.locator(".target", { hasText: id }).locator(".dot.red").count()) === 0, "it does not come back", 60_000);
    return `${id}, shown down ${took} ms after the answer`;
  });
}

await check("no exception, nothing against the content security policy", async () => insist(broken.length === 0, broken.join("; ")));
await browser.close();
console.log(failures === 0 ? "all is well" : `${failures} of the checks failed`);
process.exit(failures === 0 ? 0 : 1);
