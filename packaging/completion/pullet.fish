# SPDX-License-Identifier: MIT
# fish completion of pullet(1)

# Names from pulletd, else from the configuration, and nothing of what they complain about.
function __pullet_containers
	set -l names (pullet status --json 2>/dev/null | string match -ag -r '"container":"([^"]*)"')
	if not set -q names[1]
		set names (pullet config check --json 2>/dev/null | string match -g -r '"containers":\[([^]]*)\]' |
			string replace -a '"' '' | string split -n ,)
	end
	printf '%s\n' $names
end

# The command and its operands, as far as they are typed.
function __pullet_words
	set -l value no
	for word in (commandline -opc)[2..-1]
		if test $value = yes
			set value no
			continue
		end
		switch $word
			case --config --state-dir --engine --lines -n --platform --user --from --percent --ramp --ring --not-before \
					--minimum-version --target --sequence --until --reason
				set value yes
			case '-*'
			case '*'
				echo $word
		end
	end
end

# Behind which command: -1 for any number of operands before, or how many.
function __pullet_at -a operands
	set -l words (__pullet_words)
	set -q words[1]; and contains -- $words[1] $argv[2..-1]
	and test $operands -lt 0 -o (count $words) -eq (math $operands + 1)
end

# Behind a command of two words.
function __pullet_behind -a command
	set -l words (__pullet_words)
	test "$words[1..2]" = $command
end

function __pullet_shows_config
	set -l words (__pullet_words)
	test "$words" = 'config show'
end

complete -c pullet -f
complete -c pullet -n 'test -z "$(__pullet_words)"' -a status -d 'show state, waiting updates and rejected digests'
complete -c pullet -n 'test -z "$(__pullet_words)"' -a log -d 'show the history of updates'
complete -c pullet -n 'test -z "$(__pullet_words)"' -a check -d 'look for a new image without taking it'
complete -c pullet -n 'test -z "$(__pullet_words)"' -a update -d 'look for a new image and take it'
complete -c pullet -n 'test -z "$(__pullet_words)"' -a rollback -d 'go back to the previous image'
complete -c pullet -n 'test -z "$(__pullet_words)"' -a hold -d 'take no updates until released'
complete -c pullet -n 'test -z "$(__pullet_words)"' -a release -d 'let a held container be updated again'
complete -c pullet -n 'test -z "$(__pullet_words)"' -a retry -d 'forget the rejected digests'
complete -c pullet -n 'test -z "$(__pullet_words)"' -a doctor -d 'show what is wrong here, and the command that mends it'
complete -c pullet -n 'test -z "$(__pullet_words)"' -a forget -d 'remove what is kept of a section that is gone'
complete -c pullet -n 'test -z "$(__pullet_words)"' -a adopt -d 'print sections for containers that are not followed'
complete -c pullet -n 'test -z "$(__pullet_words)"' -a config -d 'read the configuration and report all errors'
complete -c pullet -n 'test -z "$(__pullet_words)"' -a verify -d 'show where a reference points and if it may run here'
complete -c pullet -n 'test -z "$(__pullet_words)"' -a login -d 'keep user name and password of a registry'
complete -c pullet -n 'test -z "$(__pullet_words)"' -a logout -d 'remove what login wrote'
complete -c pullet -n 'test -z "$(__pullet_words)"' -a rollout -d 'show or change the rollout policy of an image'
complete -c pullet -n 'test -z "$(__pullet_words)"' -a delta -d 'make or show small downloads from one image to the next'

complete -c pullet -n '__pullet_at 0 config' -a 'check show'
complete -c pullet -n __pullet_shows_config -a '(__pullet_containers)'
complete -c pullet -n '__pullet_at 0 delta' -a 'make show'
complete -c pullet -n '__pullet_at 0 rollout' -a 'show set halt resume clear'
complete -c pullet -n '__pullet_at -1 log check update hold release' -a '(__pullet_containers)'
complete -c pullet -n '__pullet_at 0 status rollback retry' -a '(__pullet_containers)'

complete -c pullet -n '__pullet_at -1 status' -l watch -d 'show each change'
complete -c pullet -n '__pullet_at -1 update' -l now -d 'past windows, min-age, speed and budget'
complete -c pullet -n '__pullet_at -1 hold' -x -l until -d 'release by itself' -a 'tomorrow 1d 1w'
complete -c pullet -n '__pullet_at -1 hold' -x -l reason -d 'why'
complete -c pullet -n '__pullet_at -1 log' -x -s n -l lines -d 'the newest ones only'
complete -c pullet -n '__pullet_at -1 forget' -l gone -d 'all records without a section'
complete -c pullet -n '__pullet_at -1 adopt' -l all -d 'also what is left out on a doubt'
complete -c pullet -n '__pullet_at -1 adopt' -l write -d 'add them to the configuration'
complete -c pullet -n '__pullet_at -1 verify' -x -l platform -d 'for another machine' \
	-a 'linux/amd64 linux/arm64 linux/arm/v7 linux/arm/v6'
complete -c pullet -n '__pullet_at -1 login' -x -l user -d 'user name'
complete -c pullet -n '__pullet_at -1 login' -r -F -l from -d "docker's config.json"
complete -c pullet -n '__pullet_at -1 login' -l password-stdin -d 'read the password from a pipe'
complete -c pullet -n '__pullet_at -1 delta' -x -l platform -d 'of this platform only' -a 'amd64 arm64 arm/v7 arm/v6'
complete -c pullet -n "__pullet_behind 'delta make'" -x -l from -d 'from the last N images of a file'
complete -c pullet -n "__pullet_behind 'delta make'" -l dry-run -d 'make and test them, push nothing'
complete -c pullet -n "__pullet_behind 'rollout set'" -x -l percent -d 'percentage of the devices'
complete -c pullet -n "__pullet_behind 'rollout set'" -x -l ramp -d 'percentages at times: TIME=NUMBER,...'
complete -c pullet -n "__pullet_behind 'rollout set'" -x -l ring -d 'other percentages for rings: NAME=NUMBER,...'
complete -c pullet -n "__pullet_behind 'rollout set'" -x -l not-before -d 'no device takes it before'
complete -c pullet -n "__pullet_behind 'rollout set'" -x -l minimum-version -d 'only devices with this pullet or newer'
complete -c pullet -n "__pullet_behind 'rollout set'" -x -l target -d 'image to roll out instead of the tag'
complete -c pullet -n "__pullet_behind 'rollout set'" -x -l sequence -d 'sequence number instead of the next'
complete -c pullet -l json -d 'print JSON'
complete -c pullet -r -F -l config -d configuration
complete -c pullet -x -l state-dir -d records -a '(__fish_complete_directories)'
complete -c pullet -x -l engine -d 'Docker socket' -a unix:///run/docker.sock
complete -c pullet -l help -d 'show help'
complete -c pullet -l version -d 'show the version'
