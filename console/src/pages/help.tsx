import { isHelpOpen } from "../keys.ts";
import { Dialog } from "../parts/dialog.tsx";
import { T } from "../texts.ts";

export function Help() {
  const close = () => {
    isHelpOpen.value = false;
  };
  return (
    <Dialog title={T.help.title} onClose={close}>
      <Pairs of={T.help.keys} />
      <h3>{T.help.fields}</h3>
      <Pairs of={T.help.examples} />
    </Dialog>
  );
}

function Pairs({ of }: { of: readonly (readonly [string, string])[] }) {
  return (
    <dl class="facts">
      {of.map(([key, what]) => (
        <div key={key}>
          <dt>
            <kbd>{key}</kbd>
          </dt>
          <dd>{what}</dd>
        </div>
      ))}
    </dl>
  );
}
