# SPDX-License-Identifier: MIT
# bash completion of pullet(1)

# Names from pulletd, else from the configuration, and nothing of what they complain about.
_pullet_containers() {
	local names
	names=$(pullet status --json 2>/dev/null | tr '{,' '\n\n' | sed -n 's/^"container":"\([^"]*\)".*/\1/p')
	if [ -z "$names" ]; then
		names=$(pullet config check --json 2>/dev/null |
			sed -n 's/.*"containers":\[\([^]]*\)\].*/\1/p' | tr -d '"' | tr ',' '\n')
	fi
	printf '%s\n' "$names"
}

_pullet() {
	local cur=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	local commands="status check update rollback hold release retry config verify rollout"
	local options="--json --config --state-dir --engine --help --version"
	local rollout="--percent --ramp --ring --not-before --minimum-version --target --sequence"
	local command= what= word i n=0
	COMPREPLY=()

	case $previous in
	--config) compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur")); return ;;
	--state-dir) compopt -o filenames; COMPREPLY=($(compgen -d -- "$cur")); return ;;
	--engine) COMPREPLY=($(compgen -W "unix:///run/docker.sock" -- "$cur")); return ;;
	--platform) COMPREPLY=($(compgen -W "linux/amd64 linux/arm64 linux/arm/v7 linux/arm/v6" -- "$cur")); return ;;
	--percent | --ramp | --ring | --not-before | --minimum-version | --target | --sequence) return ;;
	esac
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case $word in
		--config | --state-dir | --engine | --platform | --percent | --ramp | --ring | --not-before | \
			--minimum-version | --target | --sequence) ((i++)) ;;
		-*) ;;
		*)
			[ -n "$command" ] && ((n++))
			[ $n -ne 1 ] || what=$word
			command=${command:-$word}
			;;
		esac
	done
	case $command/$what in
	status/*) options="$options --watch" ;;
	verify/*) options="$options --platform" ;;
	rollout/set) options="$options $rollout" ;;
	esac
	if [[ $cur == -* ]]; then
		COMPREPLY=($(compgen -W "$options" -- "$cur"))
		return
	fi
	case $command in
	"") COMPREPLY=($(compgen -W "$commands" -- "$cur")) ;;
	check | update) COMPREPLY=($(compgen -W "$(_pullet_containers)" -- "$cur")) ;;
	status | rollback | hold | release | retry)
		[ $n -gt 0 ] || COMPREPLY=($(compgen -W "$(_pullet_containers)" -- "$cur"))
		;;
	rollout) [ $n -gt 0 ] || COMPREPLY=($(compgen -W "show set halt resume clear" -- "$cur")) ;;
	config) [ $n -gt 0 ] || COMPREPLY=($(compgen -W "check" -- "$cur")) ;;
	esac
}

complete -F _pullet pullet
