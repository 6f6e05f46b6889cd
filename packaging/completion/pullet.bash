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
	local commands="status log check update rollback hold release retry adopt forget doctor config verify login logout rollout delta"
	local options="--json --config --state-dir --engine --help --version"
	local rollout="--percent --ramp --ring --not-before --minimum-version --target --sequence"
	local command= what= word i n=0
	COMPREPLY=()

	case $previous in
	--config) compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur")); return ;;
	--state-dir) compopt -o filenames; COMPREPLY=($(compgen -d -- "$cur")); return ;;
	--engine) COMPREPLY=($(compgen -W "unix:///run/docker.sock" -- "$cur")); return ;;
	--platform) COMPREPLY=($(compgen -W "linux/amd64 linux/arm64 linux/arm/v7 linux/arm/v6" -- "$cur")); return ;;
	--from) [[ " ${COMP_WORDS[*]} " != *" delta "* ]] || return
		compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur")); return ;;
	--until) COMPREPLY=($(compgen -W "tomorrow 1d 1w" -- "$cur")); return ;;
	--lines | -n | --user | --percent | --ramp | --ring | --not-before | --minimum-version | --target | --sequence | --reason) return ;;
	esac
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case $word in
		--config | --state-dir | --engine | --lines | -n | --platform | --user | --from | --percent | --ramp | --ring | --not-before | \
			--minimum-version | --target | --sequence | --until | --reason) ((i++)) ;;
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
	log/*) options="$options --lines" ;;
	forget/*) options="$options --gone" ;;
	update/*) options="$options --now" ;;
	hold/*) options="$options --until --reason" ;;
	adopt/*) options="$options --all --write" ;;
	verify/*) options="$options --platform" ;;
	login/*) options="$options --user --from --password-stdin" ;;
	delta/make) options="$options --platform --from --dry-run" ;;
	delta/show) options="$options --platform" ;;
	rollout/set) options="$options $rollout" ;;
	esac
	if [[ $cur == -* ]]; then
		COMPREPLY=($(compgen -W "$options" -- "$cur"))
		return
	fi
	case $command in
	"") COMPREPLY=($(compgen -W "$commands" -- "$cur")) ;;
	log | check | update | hold | release) COMPREPLY=($(compgen -W "$(_pullet_containers)" -- "$cur")) ;;
	status | rollback | retry)
		[ $n -gt 0 ] || COMPREPLY=($(compgen -W "$(_pullet_containers)" -- "$cur"))
		;;
	rollout) [ $n -gt 0 ] || COMPREPLY=($(compgen -W "show set halt resume clear" -- "$cur")) ;;
	delta) [ $n -gt 0 ] || COMPREPLY=($(compgen -W "make show" -- "$cur")) ;;
	config)
		[ $n -gt 0 ] || COMPREPLY=($(compgen -W "check show" -- "$cur"))
		[ $n/$what != 1/show ] || COMPREPLY=($(compgen -W "$(_pullet_containers)" -- "$cur"))
		;;
	esac
}

complete -F _pullet pullet
