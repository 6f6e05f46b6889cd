#compdef pullet
# SPDX-License-Identifier: MIT
# zsh completion of pullet(1)

# Names from pulletd, else from the configuration, and nothing of what they complain about.
_pullet_containers() {
	local -a names
	names=(${(f)"$(_call_program containers pullet status --json 2>/dev/null |
		tr '{,' '\n\n' | sed -n 's/^"container":"\([^"]*\)".*/\1/p')"})
	(( $#names )) || names=(${(f)"$(_call_program containers pullet config check --json 2>/dev/null |
		sed -n 's/.*"containers":\[\([^]]*\)\].*/\1/p' | tr -d '"' | tr ',' '\n')"})
	_describe container names
}

_pullet() {
	local curcontext=$curcontext state line
	local -a commands options
	commands=(
		'status:what runs, what waits, what was rejected'
		'check:look for a new image, and take nothing'
		'update:look for a new image, and take it'
		'rollback:go back to the version before'
		'hold:take no update until released'
		'release:let a held container be updated again'
		'retry:forget the digests that were rejected'
		'config:read the configuration and tell all faults in it'
		'verify:where a reference points, and whether it may run here'
		'rollout:who takes an image, by the policy beside it'
	)
	options=(
		'--json[JSON on standard output]'
		'--config[configuration]:file:_files'
		'--state-dir[records]:directory:_files -/'
		'--engine[Docker socket]:URL:(unix\:///run/docker.sock)'
		'--help[what there is to know]'
		'--version[of pullet]'
	)
	_arguments -C $options '1: :->command' '*:: :->operand'
	case $state in
	command) _describe command commands ;;
	operand)
		case $words[1] in
		status) _arguments $options '--watch[show each change]' '1: :_pullet_containers' ;;
		check | update) _arguments $options '*: :_pullet_containers' ;;
		rollback | hold | release | retry) _arguments $options '1: :_pullet_containers' ;;
		config) _arguments $options '1: :(check)' ;;
		rollout)
			[[ ${words[(r)set]} == set ]] && options+=(
				'--percent[share of the devices]:number: '
				'--ramp[shares at times]:TIME=NUMBER,...: '
				'--ring[another share for rings]:NAME=NUMBER,...: '
				'--not-before[nobody before]:time: '
				'--minimum-version[only by this pullet or newer]:version: '
				'--target[another image than that of the tag]:digest: '
				'--sequence[instead of the next number]:number: '
			)
			_arguments $options '1: :(show set halt resume)' '2:image: '
			;;
		verify)
			_arguments $options '1:image: ' \
				'--platform[for another machine]:platform:(linux/amd64 linux/arm64 linux/arm/v7 linux/arm/v6)'
			;;
		esac
		;;
	esac
}

_pullet "$@"
