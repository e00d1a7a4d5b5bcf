import { defineConfig } from "vite";

// Where `npm run dev` finds the registry (a sidecar, or dev/mock.mjs); the built page is served by the sidecar itself.
const registry = "http://127.0.0.1:8190";
const paths = ["/nodes", "/approve", "/deny", "/register", "/sovereigns", "/topology", "/validators", "/info", "/api"];

export default defineConfig({
  // Relative, so that the page also works below a path of some other server.
  base: "./",
  build: {
    target: "es2022",
    // A page served with a policy against inline content must not get small files as data: scripts, and hashes name all of them.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // What is bundled says whose it is.
    license: { fileName: "licenses.md" },
  },
  server: { port: 5173, proxy: Object.fromEntries(paths.map((path) => [path, registry])) },
  test: { include: ["test/**/*.test.ts"] },
} as Parameters<typeof defineConfig>[0]);
