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
		'status:show state, waiting updates and rejected digests'
		'check:look for a new image without taking it'
		'update:look for a new image and take it'
		'rollback:go back to the previous image'
		'hold:take no updates until released'
		'release:let a held container be updated again'
		'retry:forget the rejected digests'
		'config:read the configuration and report all errors'
		'verify:show where a reference points and if it may run here'
		'rollout:show or change the rollout policy of an image'
	)
	options=(
		'--json[print JSON]'
		'--config[configuration]:file:_files'
		'--state-dir[records]:directory:_files -/'
		'--engine[Docker socket]:URL:(unix\:///run/docker.sock)'
		'--help[show help]'
		'--version[show the version]'
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
				'--percent[percentage of the devices]:number: '
				'--ramp[percentages at times]:TIME=NUMBER,...: '
				'--ring[other percentages for rings]:NAME=NUMBER,...: '
				'--not-before[no device takes it before]:time: '
				'--minimum-version[only devices with this pullet or newer]:version: '
				'--target[image to roll out instead of the tag]:digest: '
				'--sequence[sequence number instead of the next]:number: '
			)
			_arguments $options '1: :(show set halt resume clear)' '2:image: '
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
