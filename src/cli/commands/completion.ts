import { Argument, type Command } from "commander";
import { createCommand } from "../program.ts";
import { print } from "../render.ts";

type Shell = "bash" | "zsh" | "fish";

export function completionCommand(): Command {
  return createCommand("completion", "Print a script with which a shell completes this program's commands.", [
    "completion bash > ~/.local/share/bash-completion/completions/clearline",
    "completion zsh > ~/.zfunc/_clearline",
    "completion fish > ~/.config/fish/completions/clearline.fish",
  ])
    .addArgument(new Argument("<shell>", "the shell").choices(["bash", "zsh", "fish"]))
    .action((shell: Shell) => print(SCRIPTS[shell].trim()));
}

/**
 * Each script hands the words up to the cursor to `clearline __complete`. What comes back is data: no script may give it to the shell to
 * expand, as `compgen -W` does.
 */
const SCRIPTS: Readonly<Record<Shell, string>> = {
  bash: `
# clearline: completion for bash. Source this file, or put it into bash-completion's folder.
_clearline() {
  local line
  COMPREPLY=()
  while IFS= read -r line; do
    if [ "$line" = ":files" ]; then
      compopt -o default
      COMPREPLY=()
      return
    fi
    COMPREPLY+=("\${line%%$'\\t'*}")
  done < <("$1" __complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _clearline clearline
`,
  zsh: `
#compdef clearline
# clearline: completion for zsh. Put this file as _clearline into a folder of $fpath, or source it after compinit.
_clearline() {
  local line
  local -a found
  for line in "\${(@f)$("\${words[1]}" __complete "\${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
    if [[ $line == ":files" ]]; then
      _files
      return
    fi
    [[ -n $line ]] && found+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
  done
  _describe clearline found
}
if [ "$funcstack[1]" = "_clearline" ]; then
  _clearline "$@"
else
  compdef _clearline clearline
fi
`,
  fish: `
# clearline: completion for fish. Put this file as clearline.fish into ~/.config/fish/completions.
function __clearline_complete
  set -l words (commandline -opc)
  set -l current (commandline -ct)
  set -l found (command $words[1] __complete $words[2..-1] "$current" 2>/dev/null)
  if test "$found[1]" = ":files"
    __fish_complete_path "$current"
  else
    printf '%s\\n' $found
  end
end
complete -c clearline -f -a '(__clearline_complete)'
`,
};
