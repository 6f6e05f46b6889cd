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
		'log:show the history of updates'
		'check:look for a new image without taking it'
		'update:look for a new image and take it'
		'rollback:go back to the previous image'
		'hold:take no updates until released'
		'release:let a held container be updated again'
		'retry:forget the rejected digests'
		'doctor:show what is wrong here, and the command that mends it'
		'forget:remove what is kept of a section that is gone'
		'adopt:print sections for containers that are not followed'
		'config:read the configuration and report all errors'
		'verify:show where a reference points and if it may run here'
		'login:keep user name and password of a registry'
		'logout:remove what login wrote'
		'rollout:show or change the rollout policy of an image'
		'delta:make or show small downloads from one image to the next'
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
		log) _arguments $options '(-n --lines)'{-n,--lines}'[the newest ones only]:number: ' '*: :_pullet_containers' ;;
		forget) _arguments $options '--gone[all records without a section]' ;;
		check | release) _arguments $options '*: :_pullet_containers' ;;
		update) _arguments $options '--now[past windows, min-age, speed and budget]' '*: :_pullet_containers' ;;
		hold)
			_arguments $options '--until[release by itself]:time:(tomorrow 1d 1w)' '--reason[why]:text: ' \
				'*: :_pullet_containers'
			;;
		rollback | retry) _arguments $options '1: :_pullet_containers' ;;
		config)
			[[ ${words[(r)show]} == show ]] && options+=('2: :_pullet_containers')
			_arguments $options '1: :(check show)'
			;;
		adopt)
			_arguments $options '--all[also what is left out on a doubt]' \
				'--write[add them to the configuration]' '*:container: '
			;;
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
		delta)
			options+=('--platform[of this platform only]:platform:(amd64 arm64 arm/v7 arm/v6)')
			[[ ${words[(r)make]} == make ]] && options+=(
				'--from[from the last N images of a file]:number: '
				'--dry-run[make and test them, push nothing]'
			)
			_arguments $options '1: :(make show)' '*:image:_files'
			;;
		login)
			_arguments $options '1:host: ' '--user[user name]:name: ' '--password-stdin[read the password from a pipe]' \
				"--from[docker's config.json]:file:_files"
			;;
		logout) _arguments $options '1:host: ' ;;
		doctor) _arguments $options ;;
		verify)
			_arguments $options '1:image: ' \
				'--platform[for another machine]:platform:(linux/amd64 linux/arm64 linux/arm/v7 linux/arm/v6)'
			;;
		esac
		;;
	esac
}

_pullet "$@"
