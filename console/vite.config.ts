import { defineConfig } from "vite";

/** The page is served by the node itself, with a policy that allows no inline script. */
export default defineConfig({
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: { target: "es2023", modulePreload: false, assetsInlineLimit: 0, reportCompressedSize: true },
});
